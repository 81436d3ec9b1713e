"""Canonical forms of the identities of a person: numbers, URIs, e-mail addresses, names; pure.

Theory of operation. A stored party is turned into a few short *forms*, and each form becomes one search token. A query
is turned into *needles*. A needle names one form to look up (`probe`), and conditions that the forms of a call found
that way must also meet (`every`, `tail`). So the token finds a few candidates, and their sealed forms decide.

The forms:

    e:+49301234567    a number in E.164                 t:234567    its last six digits
    x:4711            a number that has no E.164 form   u:a@b.c     address of record, e-mail, UPN or user id
    w:mueller         one word of a name                p:jorg muller   two words of one name, sorted
    c:ucid:0001…      an identifier from the client that all recordings of one call share
    k:1b4e28ba-…      a candidate: a user who may be the party, if several may

Both sides run the same code, so any two spellings of the same identity match.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import combinations, islice, pairwise
from pathlib import Path
from urllib.parse import unquote

from personal import Personal

TAIL_DIGITS = 6  # fewer do not identify anybody: among a million calls they would match hundreds by chance
MIN_E164, MAX_E164 = 7, 15  # digits; E.164 section 6.1 sets the maximum, shorter numbers are service codes
MAX_TEXT = 512  # characters read of one value; a longer one is not an identity but an attack
MAX_WORDS = 12  # single words kept of a name
MAX_PAIRED = 6  # words of a name that are also kept in pairs: 15 pairs at most
MAX_PAIRS_ASKED = 3  # pairs of a query that are checked; three are enough to identify one person
MAX_ALSO = 8  # further addresses of one party
MAX_CANDIDATES = 25  # users who may be one party; a number that more people share is a switchboard's
MAX_NAMES = 3  # names of a call that find its other recordings; each costs a token
NAMING = ("e:", "x:", "u:")  # forms that identify somebody; last digits and words of names fit several people
MAX_FORMS = 1024  # forms of one call: conferences of about 80 people

_NUMBER = re.compile(r"\+?[\d\s()./\u2010-\u2015\u2212·-]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_WORD = re.compile(r"[^\W_]+")
_INSIDE = re.compile("['\u2019\u02bc`\u00b4]")  # apostrophes do not split a word: O'Hara is one name
_NAME_ADDRESS = re.compile(r".*<([^<>]+)>[^<>]*", re.DOTALL)

# Letters that do not decompose into a base letter and a mark, and spellings for keyboards that lack a letter.
_PLAIN = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h", "ŧ": "t"}
)
_SPELT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})


@dataclass(frozen=True, slots=True)
class Needle:
    """One way for a call to match a query; it matches if it meets any of the query's needles."""

    probe: str = field(repr=False)
    """The form whose token is looked up."""
    every: tuple[str, ...] = field(default=(), repr=False)
    """Further forms that the call must have."""
    tail: str = field(default="", repr=False)
    """Digits with which a number of the call must end."""

    def meets(self, forms: Iterable[str]) -> bool:
        """Return whether a call with these forms meets this needle."""
        have = frozenset(forms)
        if self.probe not in have or not have.issuperset(self.every):
            return False
        return not self.tail or any(f[:2] in ("e:", "x:") and f.endswith(self.tail) for f in have)


def fold(text: str) -> str:
    """Remove case, width, marks and invisible characters: `Ößling` becomes `ossling`."""
    if text.isascii():
        return text[:MAX_TEXT].lower()
    flat = unicodedata.normalize("NFKC", text[:MAX_TEXT]).casefold().translate(_PLAIN)
    parts = unicodedata.normalize("NFKD", flat)
    return unicodedata.normalize("NFC", "".join(c for c in parts if unicodedata.category(c) not in ("Mn", "Cf")))


def spell(text: str) -> str:
    """Fold a text as `fold` does, but write umlauts as two letters: `Ößling` becomes `oessling`."""
    if text.isascii():
        return text[:MAX_TEXT].lower()
    return fold(unicodedata.normalize("NFKC", text[:MAX_TEXT]).casefold().translate(_SPELT))


def numbers(text: str, country: str) -> tuple[str, ...]:
    """Parse a number to E.164; return two results if it has no plus and may begin with the country's own code."""
    text = _plain_number(text)
    digits = _digits(text)
    if text.startswith("+"):
        return (_e164(text, None) or f"+{digits}",) if len(digits) >= MIN_E164 else ()
    if len(digits) < TAIL_DIGITS or len(digits) > MAX_E164 + 4:  # an international prefix has up to 4 digits
        return ()
    import phonenumbers

    found = [_e164(text, country)]
    code = str(phonenumbers.country_code_for_region(country.upper()))
    if digits.startswith("00"):
        found += [_e164(f"+{digits[2:]}", None)] if not _valid(found[0]) else []
    elif digits.startswith(code) or not _valid(found[0]):
        found += [f"+{digits}"] if _valid(f"+{digits}") else []
    return tuple(dict.fromkeys(f for f in found if f))


def is_country(code: str) -> bool:
    """Return whether numbers of this country can be parsed: `GB` is a country, `UK` is not."""
    if re.fullmatch("[A-Z]{2}", code) and _has_plan(code):
        return True
    import phonenumbers

    return bool(phonenumbers.country_code_for_region(code))


def _has_plan(region: str) -> bool:
    """Return whether the library has a file for a region, without loading it, which would delay each start by 20 ms."""
    spec = find_spec("phonenumbers")
    places = (spec and spec.submodule_search_locations) or ()
    return any(Path(place, "data", f"region_{region}.py").is_file() for place in places)


def stored(party: Mapping[str, object], country: str) -> tuple[str, ...]:
    """Return the forms under which one party of a call can be found.

    Reads name, number, uri, user_id, email, upn, `also` (a list of further addresses and numbers) and
    `user_candidates` (ids of users who may be the party). The values of a call are wrapped, those of a user are not.
    """
    forms: list[str] = [f"k:{id}" for id in _candidates(party)]
    number = revealed_text(party.get("number"))
    for key in ("number", "uri", "email", "upn", "user_id"):
        value = revealed_text(party.get(key))
        if value is not None and value.strip():
            forms += _of_value(value[:MAX_TEXT].strip(), country, number if key != "number" else None)
    for value in also(party):
        forms += _of_value(value[:MAX_TEXT].strip(), country)
    name = revealed_text(party.get("name"))
    if name is not None:
        forms += _of_number(name, country) if is_number(name) else _of_name(name)
    return tuple(dict.fromkeys(forms))


def also(party: Mapping[str, object]) -> list[str]:
    """Return the further addresses and numbers of a party, at most MAX_ALSO."""
    further = party.get("also")
    found = map(revealed_text, further[:MAX_ALSO]) if isinstance(further, list) else ()
    return [value for value in found if value is not None]


def revealed_text(value: object) -> str | None:
    """Return the text of a value, wrapped or not; None if it is no text."""
    value = value.reveal() if isinstance(value, Personal) else value
    return value if isinstance(value, str) else None


def naming(value: str, country: str, known: object = None) -> tuple[str, ...]:
    """Return the forms of one value that identify somebody, without those of the number `known`."""
    found = _of_value(value[:MAX_TEXT].strip(), country, known)
    return tuple(dict.fromkeys(form for form in found if form[:2] in NAMING))


def stored_of(parties: Iterable[Mapping[str, object]], country: str) -> tuple[str, ...]:
    """Return the forms of all parties of a call, each once, at most MAX_FORMS."""
    found = dict.fromkeys(form for party in parties for form in stored(party, country))
    return tuple(found)[:MAX_FORMS]


def of_names(names: Iterable[Personal[str]]) -> tuple[str, ...]:
    """Return the forms that find all recordings of a call: its names, most certain first, at most MAX_NAMES."""
    return tuple(f"c:{name.reveal()[:MAX_TEXT]}" for name in islice(names, MAX_NAMES))


def asked(text: str, country: str, *, exact: bool = False) -> tuple[Needle, ...]:
    """Parse a query in any spelling into needles; `exact` ignores last digits, which may fit several people."""
    text = text[:MAX_TEXT].strip()
    if named := _NAME_ADDRESS.fullmatch(text):
        text = named[1].strip()
    if is_number(text):
        return _ask_number(text, country, exact)
    if _SCHEME.fullmatch(text) or "@" in text or _UUID.fullmatch(text.lower()):
        return _ask_address(text, country, exact)
    return _ask_name(text)


def is_number(text: str) -> bool:
    """Return whether a text is a telephone number in some notation, and nothing else."""
    text = _plain_number(text)
    return bool(_NUMBER.fullmatch(text)) and len(_digits(text)) >= 2


def address(text: str) -> str:
    """Return the canonical form of an address of record, e-mail address, UPN or id, without scheme or port."""
    scheme, rest = _scheme(text)
    if scheme and scheme not in ("sip", "sips", "mailto", "im", "xmpp", "h323", "pres"):
        return fold(text)
    user, at, host = rest.split("?", 1)[0].rpartition("@")
    host = _host(host if at else rest.split(";", 1)[0])
    return f"{fold(unquote(user.split(';', 1)[0].split(':', 1)[0]))}@{host}" if at else host


def _plain_number(text: str) -> str:
    """Replace full-width and Arabic digits by ASCII digits, and remove invisible marks."""
    if text.isascii():
        return text[:MAX_TEXT].strip()
    flat = unicodedata.normalize("NFKC", text[:MAX_TEXT]).strip()
    return "".join(
        str(unicodedata.digit(c)) if c.isdecimal() else c for c in flat if unicodedata.category(c) != "Cf"
    ).strip()


_NO_DIGITS = re.compile("[^0-9]+")


def _digits(text: str) -> str:
    return _NO_DIGITS.sub("", text)


def _e164(text: str, country: str | None) -> str | None:
    import phonenumbers

    try:
        number = phonenumbers.parse(text, country.upper() if country else None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _valid(e164: str | None) -> bool:
    import phonenumbers

    try:
        return e164 is not None and phonenumbers.is_valid_number(phonenumbers.parse(e164, None))
    except phonenumbers.NumberParseException:
        return False


def _scheme(text: str) -> tuple[str, str]:
    found = _SCHEME.fullmatch(text)
    if not found or ("@" in text and "@" not in found[2]) or found[2].isdigit():
        return "", text  # host:port is not a scheme
    return found[1].lower(), found[2].removeprefix("//")


def _host(text: str) -> str:
    text = text.split(";", 1)[0].split(">", 1)[0].strip().lower()
    host = text.partition("]")[0] + "]" if text.startswith("[") else text.split(":", 1)[0].rstrip(".")
    try:
        return host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return host.casefold()


def _telephone(text: str) -> str | None:
    """Return the number in a tel: URI, or in the user part of another one (RFC 3966 5.1.5, RFC 3261 19.1.6)."""
    scheme, rest = _scheme(text)
    if scheme != "tel":
        user, at, _ = rest.partition("@")
        user = unquote(user).split(";", 1)[0]
        return user if at and is_number(user) else None
    number, _, parameters = unquote(rest).partition(";")
    context = re.search(r"phone-context=(\+[\d().-]+)", parameters)
    return context[1] + number if context and not number.startswith("+") else number


def _number_forms(text: str, country: str) -> list[str]:
    """Return the forms of a number, stored or searched: in E.164, or its digits if it has no such form."""
    digits = _digits(_plain_number(text))
    if len(digits) < 2:
        return []
    return [f"e:{n}" for n in numbers(text, country)] or [f"x:{digits}"]


def _of_number(text: str, country: str) -> list[str]:
    found = _number_forms(text, country)
    return found + [f"t:{f[-TAIL_DIGITS:]}" for f in found if len(f) >= TAIL_DIGITS + 2]


def _of_value(text: str, country: str, known: object = None) -> list[str]:
    """Return the forms of one value, without those of the number `known`."""
    if is_number(text):
        return _of_number(text, country)
    if _scheme(text)[0] == "tel":
        return _of_number(_telephone(text) or "", country)
    forms = [f"u:{address(text)}"]
    if number := _telephone(text):
        return forms if number == known else forms + _of_number(number, country)
    user = unquote(_scheme(text)[1].partition("@")[0])
    return forms if _UUID.search(user.lower()) else forms + _of_name(user)


def _candidates(party: Mapping[str, object]) -> list[str]:
    given = party.get("user_candidates")
    return [str(id) for id in given[:MAX_CANDIDATES]] if isinstance(given, list) else []


def _words(folded: str) -> list[str]:
    return list(dict.fromkeys(_WORD.findall(_INSIDE.sub("", folded))))


def _pair(one: str, two: str) -> str:
    return f"p:{min(one, two)} {max(one, two)}"


def _of_name(text: str) -> list[str]:
    forms: list[str] = []
    for written in dict.fromkeys((fold(text), spell(text))):
        words = _words(written)[:MAX_WORDS]
        forms += [f"w:{w}" for w in words] + [_pair(a, b) for a, b in combinations(words[:MAX_PAIRED], 2)]
    return forms


def _ask_number(text: str, country: str, exact: bool) -> tuple[Needle, ...]:
    plain = _plain_number(text)
    digits = _digits(plain)
    needles = list(map(Needle, _number_forms(text, country)))
    if not exact and len(digits) >= TAIL_DIGITS and not plain.startswith("+"):
        needles.append(Needle(f"t:{digits[-TAIL_DIGITS:]}", tail=digits))
    return tuple(needles)


def _ask_address(text: str, country: str, exact: bool) -> tuple[Needle, ...]:
    number = _telephone(text)
    if _scheme(text)[0] == "tel":
        return _ask_number(number or "", country, exact) if is_number(number or "") else ()
    needles = [Needle(f"u:{address(text)}")]
    if number:  # a few digits before a host are an extension there; the address identifies it better
        needles += [Needle(form) for form in _number_forms(number, country) if form.startswith("e:")]
    return tuple(needles)


def _ask_name(text: str) -> tuple[Needle, ...]:
    needles = []
    for written in dict.fromkeys((fold(text), spell(text))):
        words = _words(written)
        if len(words) == 1:
            needles.append(Needle(f"w:{words[0]}"))
        elif words:
            needles.append(_ask_words(words))
    if text and not any(c.isspace() for c in text) and not text.isalpha():
        needles.append(Needle(f"u:{address(text)}"))
    return tuple(dict.fromkeys(needles))


def _ask_words(words: Sequence[str]) -> Needle:
    pairs = [_pair(a, b) for a, b in pairwise(words[:MAX_PAIRED])]
    pairs.sort(key=len, reverse=True)  # long words are rare
    return Needle(pairs[0], (*pairs[1:MAX_PAIRS_ASKED], *(f"w:{w}" for w in words[:MAX_WORDS])))
