"""People and calls generated from a seed, and all ways to search for one of the people.

Some people are *sought*: which calls they are in is known, so recall and precision can be counted. Their numbers end in
seven digits that nobody else has, and their surnames are unique words; others share their last six digits and first
names.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

COUNTRY = "DE"
SOUGHT_FROM = 900_000  # last six digits of the first sought person; everybody else's are lower
FIRST = (
    "Anna Bodo Çağla Dörte Emre Fatma Günther Hélène Ines Jörg Kaja Łukasz Mira Noël Olga Pia Rui Søren Tove Uwe"
).split()
SYLLABLES = "ba der fe gam hol jen kö lut mal nie ort pül ros stä tau ur vel wei zim ner".split()


class Kind(enum.Enum):
    """A way to search for somebody."""

    E164 = "E.164"
    NATIONAL = "national"
    PREFIX = "international prefix 00"
    BARE = "E.164 without plus"
    SIP = "sip:"
    TEL = "tel:"
    MAIL = "e-mail"
    UPN = "UPN"
    NAME = "display name"
    WORD = "one word of a name"
    DIGITS = "last digits"


NUMBERS = frozenset({Kind.E164, Kind.NATIONAL, Kind.PREFIX, Kind.BARE, Kind.TEL, Kind.DIGITS})


@dataclass(frozen=True, slots=True)
class Person:
    """A person with all identities that a directory has."""

    first: str
    """First name."""
    last: str
    """Surname."""
    tail: int
    """Last six digits of the number."""
    exchange: int = 8
    """The digit before those six."""

    @property
    def e164(self) -> str:
        """The number with country code."""
        return f"+4930{self.exchange}{self.tail:06}"

    @property
    def national(self) -> str:
        """The number as it is dialled within the country."""
        return f"030{self.exchange}{self.tail:06}"

    @property
    def user(self) -> str:
        """User part of addresses."""
        return f"u{self.tail}.{self.last}".encode("ascii", "ignore").decode().lower()

    @property
    def upn(self) -> str:
        """User principal name."""
        return f"{self.user}@login.example"

    @property
    def mail(self) -> str:
        """E-mail address, different from the UPN."""
        return f"{self.user}@mail.example"


def surname(number: int, syllables: int = 3) -> str:
    """Spell a number in syllables."""
    parts = []
    for _ in range(syllables):
        number, rest = divmod(number, len(SYLLABLES))
        parts.append(SYLLABLES[rest])
    return "".join(parts).capitalize()


def everybody(count: int) -> list[Person]:
    """Make people of whom many share a first name or a surname."""
    surnames = max(1, count // 4)
    return [Person(FIRST[n % len(FIRST)], surname(n % surnames), n * (SOUGHT_FROM // count)) for n in range(count)]


def sought(count: int) -> list[Person]:
    """Make the sought: people who share only first names and a few digits with others."""
    return [Person(FIRST[n % len(FIRST)], surname(n, 5) + "quist", SOUGHT_FROM + n * 7) for n in range(count)]


def confusable(wanted: list[Person]) -> list[Person]:
    """Make people whose numbers end in the same six digits as those of the sought."""
    return [Person(one.first, surname(n, 4), one.tail, exchange=7) for n, one in enumerate(wanted)]


# The ways a party may be written in a call, each with the kinds of queries that find it.
_NAMED = frozenset({Kind.NAME, Kind.WORD})
_WRITTEN: tuple[tuple[Callable[[Person], Mapping[str, Any]], frozenset[Kind]], ...] = (
    (
        lambda p: {"name": f"{p.first} {p.last}", "number": p.e164, "uri": f"sip:{p.e164}@sbc.example;user=phone"},
        NUMBERS | _NAMED,
    ),
    (
        lambda p: {
            "name": f"{p.last.upper()}, {p.first.upper()}",
            "number": p.national,
            "uri": f"sip:{p.national}@pbx",
        },
        NUMBERS | _NAMED,
    ),
    (lambda p: {"name": None, "number": None, "uri": f"tel:+49-30-{p.exchange}{p.tail:06};ext=7"}, NUMBERS),
    (
        lambda p: {"name": f"{p.last} ({p.first})", "number": p.e164[1:], "uri": f"sips:{p.e164[1:]}@sbc.example:5061"},
        NUMBERS | _NAMED,
    ),
    (
        lambda p: {"name": f"{p.first} {p.last}", "number": None, "uri": f"sip:{p.upn.upper()};gr=1", "email": p.mail},
        frozenset({Kind.SIP, Kind.UPN, Kind.MAIL}) | _NAMED,
    ),
    (
        lambda p: {"name": p.last, "number": None, "uri": "sip:anonymous@x.invalid", "upn": p.upn, "email": p.mail},
        frozenset({Kind.SIP, Kind.UPN, Kind.MAIL, Kind.WORD}),
    ),
)
WRITINGS = len(_WRITTEN)


def party(person: Person, writing: int) -> dict[str, Any]:
    """Return a person as a party of a call, written in the given one of WRITINGS ways."""
    return {"role": "participant", "user_id": None, **_WRITTEN[writing][0](person)}


def finds(kind: Kind, writing: int) -> bool:
    """Return whether a query of this kind must find a party written in this way."""
    return kind in _WRITTEN[writing][1]


def question(person: Person, kind: Kind, random: Random) -> str:
    """Return a query for a person, in one of the spellings of a kind."""
    digits = f"{person.tail:06}"
    spellings: Mapping[Kind, tuple[str, ...]] = {
        Kind.E164: (person.e164, f"+49 30 8{digits}", f"+49 (0) 30 8{digits[:3]}-{digits[3:]}"),
        Kind.NATIONAL: (person.national, f"030/8{digits}", f"(030) 8{digits[:2]} {digits[2:4]} {digits[4:]}"),
        Kind.PREFIX: (f"0049308{digits}", f"0049 30 8 {digits}"),
        Kind.BARE: (person.e164[1:], f"49 30 8{digits}"),
        Kind.SIP: (f"sip:{person.upn}", f"<sips:{person.upn};transport=tls>", f"sip:{person.upn.upper()}:5061"),
        Kind.TEL: (f"tel:{person.e164}", f"tel:+49-30-8{digits};ext=1", f"tel:8{digits};phone-context=+4930"),
        Kind.MAIL: (person.mail, person.mail.upper(), f"mailto:{person.mail}"),
        Kind.UPN: (person.upn, person.upn.title()),
        Kind.NAME: (f"{person.first} {person.last}", f"{person.last}, {person.first}".upper()),
        Kind.WORD: (person.last, person.last.upper()),
        Kind.DIGITS: (f"8{digits}", f"8 {digits[:3]} {digits[3:]}"),
    }
    return random.choice(spellings[kind])


@dataclass(frozen=True, slots=True)
class Talk:
    """The people in a call, each in one writing."""

    people: tuple[tuple[Person, int], ...]
    """Person and writing, in order of appearance."""

    @property
    def parties(self) -> list[dict[str, Any]]:
        """The parties in the form of a call document."""
        return [party(person, writing) for person, writing in self.people]


def talks(count: int, crowd: list[Person], wanted: list[Person], each: int, random: Random) -> Iterator[Talk]:
    """Make calls of two people; every wanted person is in `each` of them, spread over all."""
    places = random.sample(range(count), len(wanted) * each)
    placed = {place: wanted[i % len(wanted)] for i, place in enumerate(places)}  # the wanted person of each call
    for n in range(count):
        one, other = random.choice(crowd), random.choice(crowd)
        pair = [(placed.get(n, one), random.randrange(WRITINGS)), (other, random.randrange(WRITINGS))]
        random.shuffle(pair)
        yield Talk(tuple(pair))
