"""The keys by which a party of a call and a directory user are known; pure.

A key is one of the search forms of storage.search_forms that identify somebody: a number in E.164 (`e:`), a number
without such a form (`x:`) or an address (`u:`). Last digits and words of names are not keys: they fit several people.

    +49 30 123456 x4711   in the directory, the number is the switchboard's and the extension after it is the user's
    4711                  an extension, if the directory has it or the customer configured how many digits they have
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from storage import search_forms
from storage.directory.user import Identity, Person

_EXTENSION = re.compile(r"(.*\d)\s*(?:;\s*ext=|ext?n?\.?|x|durchwahl|#)\s*(\d{1,8})\s*", re.IGNORECASE | re.DOTALL)
_ADDRESSES = ("uri", "email", "upn")  # members of a party that hold addresses
LEADS = 1, 2, 3, 5, 8  # lengths of the prefixes kept of each word; all accounts of a company may share the first five

Group = frozenset[str]
"""The keys of one value of a party: several readings of one number, any of which may be right."""


def of_identity(known: Identity, country: str, extension_digits: int = 0) -> tuple[str, ...]:
    """Return the keys of an identity; `extension_digits`: how many last digits of a number are an extension."""
    value = known.value
    if known.kind == "numbers" and (parted := _EXTENSION.fullmatch(value)):
        return (f"x:{parted[2]}",)
    keys = list(search_forms.naming(value, country))
    if known.kind == "numbers" and extension_digits:
        keys += [f"x:{key[-extension_digits:]}" for key in keys if key.startswith("e:")]
    return tuple(dict.fromkeys(keys))


def of_party(party: Mapping[str, object], country: str) -> tuple[Group, ...]:
    """Return a group of keys for each value of a party; its display name is not used, because it proves nothing."""
    found: dict[Group, None] = {}
    number = search_forms.revealed_text(party.get("number"))
    for value in _values(party):
        keys = search_forms.naming(value, country, None if value is number else number)
        found.update({frozenset({key}): None for key in keys if key.startswith("u:")})
        if numbers := frozenset(key for key in keys if not key.startswith("u:")):
            found[numbers] = None
    return tuple(found)


def words_of(person: Person) -> tuple[str, ...]:
    """Return the words of names and account by which a search finds a user, in addition to the keys."""
    name = " ".join((person.first_name, person.last_name))
    forms = [*search_forms.stored({"name": name}, ""), *search_forms.stored({"name": person.account_name}, "")]
    return tuple(dict.fromkeys(form for form in forms if form.startswith("w:")))


def begun_by(words: Iterable[str]) -> tuple[str, ...]:
    """Return the prefix keys under which words are stored, for searches by first letters."""
    return tuple(dict.fromkeys(f"b:{word[2 : 2 + n]}" for word in words for n in LEADS if len(word) >= 2 + n))


def leads(wanted: Iterable[str]) -> tuple[str, ...]:
    """Return the keys for looking up an alternative: each word is replaced by its longest stored prefix."""
    return tuple(dict.fromkeys(begun_by([key])[-1] if key.startswith("w:") else key for key in wanted))


def named(person: Person, wanted: Iterable[str]) -> bool:
    """Return whether the words of an alternative are first letters of a user's words: `Mül` fits Müller."""
    have = words_of(person)
    return all(any(word.startswith(begin) for word in have) for begin in wanted if begin.startswith("w:"))


def asked(text: str, country: str) -> tuple[tuple[str, ...], ...]:
    """Parse a search text into alternatives; a user must have every key and word of one of them."""
    found: list[tuple[str, ...]] = []
    for needle in search_forms.asked(text, country, exact=True):
        whole = tuple(form for form in (needle.probe, *needle.every) if not form.startswith("p:"))
        parts = tuple(f"w:{word}" for word in needle.probe[2:].split()) if needle.probe.startswith("p:") else ()
        found.append(tuple(dict.fromkeys((*whole, *parts))))
    return tuple(found)


def answers(known: Iterable[Identity], person: Person, alternatives: Sequence[Sequence[str]], country: str) -> bool:
    """Return whether a user fits one of the alternatives."""
    have = {key for each in known for key in of_identity(each, country)}
    return any(named(person, each) and have.issuperset(_keys(each)) for each in alternatives)


def worded(wanted: Iterable[str]) -> bool:
    """Return whether an alternative contains words."""
    return any(key.startswith("w:") for key in wanted)


def _keys(wanted: Iterable[str]) -> list[str]:
    return [key for key in wanted if not key.startswith("w:")]


def _values(party: Mapping[str, object]) -> list[str]:
    given = [search_forms.revealed_text(party.get(name)) for name in ("number", *_ADDRESSES)]
    return [value for value in (*given, *search_forms.also(party)) if value is not None and value.strip()]
