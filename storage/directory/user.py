"""People as a directory knows them, and users as we keep them; values only."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from storage.timestamps import from_micros, from_text, to_micros, to_text

SINGLE = ("first_name", "last_name", "account_name", "email", "upn", "object_id")
SEVERAL = ("numbers", "addresses")
IDENTITIES = ("email", "upn", "object_id", *SEVERAL)  # what a party of a call can be recognised by
MAX_FORMER = 100  # of one user; the oldest go first
MAX_TIMES = 5  # that a user had one thing, left and came back with it: a filter that flaps takes no place from the rest
Said = tuple[str, str]  # a member and its value
EVER, NEVER = -(1 << 62), 1 << 62  # before and after every time, in microseconds


def by_name(name: str) -> tuple[bool, str, str]:
    """Return what names are sorted by: accents and case count only between names that differ in nothing else."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))
    return not plain.strip(), plain.casefold(), name  # users without a name come last


class UserState(StrEnum):
    """Whether the directory has a user."""

    ACTIVE = "active"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Person:
    """What a directory says of somebody."""

    first_name: str = field(default="", repr=False)
    """Given name."""
    last_name: str = field(default="", repr=False)
    """Surname."""
    account_name: str = field(default="", repr=False)
    """Name of the account."""
    email: str = field(default="", repr=False)
    """E-mail address."""
    upn: str = field(default="", repr=False)
    """User principal name."""
    object_id: str = field(default="", repr=False)
    """Id in the directory, which outlives every other member."""
    numbers: tuple[str, ...] = field(default=(), repr=False)
    """Telephone numbers."""
    addresses: tuple[str, ...] = field(default=(), repr=False)
    """SIP addresses and further e-mail addresses."""

    @property
    def shown(self) -> str:
        """Return what lists call this person, "" if there is nothing."""
        whole = " ".join(part for part in (self.first_name, self.last_name) if part)
        return whole or self.account_name or self.email or self.upn

    @property
    def key(self) -> str:
        """Return what tells this person apart in the directory, "" if nothing does."""
        named = self.object_id or self.upn or self.email or self.account_name
        return named.strip().casefold()


@dataclass(frozen=True, slots=True)
class Change:
    """What a directory says has changed of somebody."""

    object_id: str = field(repr=False)
    """Id in the directory."""
    members: Mapping[str, str | tuple[str, ...]] = field(repr=False)
    """Members of a Person that are different now; the others are as they were."""
    gone: bool = False
    """The person is no longer in the directory."""

    def over(self, person: Person | None) -> Person:
        """Return the person as it is now."""
        return replace(person or Person(), **{**self.members, "object_id": self.object_id})  # type: ignore[arg-type]  # text where text is, texts where several are


@dataclass(frozen=True, slots=True)
class Since:
    """From when a directory says something of somebody."""

    at: str
    """When it first said so, RFC 3339; "" if unknown."""
    reaches: str | None = None
    """How far back it may have been so before, as long as nobody else is known to have had it; None: any time.

    A directory says nothing about the time before its first import. Later it is the time of the import before: whoever
    was not in it had the number no earlier.
    """


@dataclass(frozen=True, slots=True)
class Former:
    """Something that a user was known by."""

    kind: str
    """Which member it was: email, numbers…"""
    value: str = field(repr=False)
    """What it said."""
    until: str
    """When the directory stopped saying so, RFC 3339."""
    since: Since = Since("")
    """From when it did."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Something that a party of a call can be recognised by, and the time for which it was somebody's.

    Times are microseconds since 1970-01-01 UTC.
    """

    kind: str
    """Which member it is."""
    value: str = field(repr=False)
    """What it says."""
    since: int
    """From then on it is certain."""
    reaches: int
    """From then on it may be so, where nobody else had it."""
    until: int
    """Then it ended, NEVER while it lasts."""


@dataclass(frozen=True, slots=True)
class User:
    """A directory user."""

    id: str
    """Random id, ours."""
    state: UserState
    """Active while the directory has it."""
    source: str
    """Which directory: csv, api, entra."""
    key: bytes = field(repr=False)
    """Keyed hash of what tells it apart there."""
    updated_at: datetime
    """Last change."""
    unmapped_at: datetime | None
    """When it left the directory."""
    leaf: int = field(repr=False)
    """Leaf that everything personal is sealed under."""
    person: Person
    """Who it is."""
    former: tuple[Former, ...] = field(default=(), repr=False)
    """What it was known by before."""
    since: Since = Since("")
    """From when the directory says what it says of the user now."""
    later: Mapping[Said, Since] = field(default_factory=dict, repr=False)
    """What it says only since another time: member and value → from when."""

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Return everything that a party of a call can be recognised by, each with its time."""
        end = NEVER if self.unmapped_at is None else to_micros(self.unmapped_at)
        now = [_identity(name, value, self.began(name, value), end) for name, value in _said(self.person)]
        before = [_identity(each.kind, each.value, each.since, _micros(each.until, NEVER)) for each in self.former]
        return tuple(each for each in (*now, *before) if each.kind in IDENTITIES and each.value.strip())

    def began(self, kind: str, value: str) -> Since:
        """Return from when the directory says one thing of the user."""
        return self.later.get((kind, value), self.since)

    @property
    def known_by(self) -> tuple[str, ...]:
        """Return every value that a party of a call can be recognised by, those of before included."""
        now = [value for name in IDENTITIES for value in values(self.person, name)]
        before = [each.value for each in self.former if each.kind in IDENTITIES]
        return tuple(dict.fromkeys(value for value in (self.id, *now, *before) if value.strip()))


def values(person: Person, name: str) -> tuple[str, ...]:
    """Return the values of one member, none if it is empty."""
    found = getattr(person, name)
    return found if isinstance(found, tuple) else (found,) if found else ()


def fields(person: Person) -> dict[str, Any]:
    """Return the members as JSON values: what is empty is null."""
    single = {name: getattr(person, name) or None for name in SINGLE}
    return {**single, **{name: list(getattr(person, name)) for name in SEVERAL}}


def told(person: Person, former: Sequence[Former], since: Since, later: Mapping[Said, Since]) -> dict[str, Any]:
    """Return what is sealed."""
    return {
        "person": fields(person),
        "former": [[each.kind, each.value, each.until, each.since.at, each.since.reaches] for each in former],
        "since": [since.at, since.reaches],
        "later": [[*which, each.at, each.reaches] for which, each in later.items()],
    }


def shown(record: Any, sealed: Mapping[str, Any]) -> User:
    """Build a user from its row and the opened part of it."""
    kept = sealed["person"]
    members: dict[str, Any] = {name: kept.get(name) or "" for name in SINGLE}
    members.update((name, tuple(kept.get(name) or ())) for name in SEVERAL)
    updated = from_micros(record.updated_at)
    return User(
        record.id,
        UserState(record.state),
        record.source,
        bytes(record.source_key or b""),
        updated,
        None if record.unmapped_at is None else from_micros(record.unmapped_at),
        record.leaf,
        Person(**members),
        tuple(Former(kind, value, until, Since(*since or [""])) for kind, value, until, *since in sealed["former"]),
        Since(*sealed.get("since") or [to_text(updated)]),  # before 0002 nobody noted it: certain since the last change
        {(kind, value): Since(at, reaches) for kind, value, at, reaches in sealed.get("later", ())},
    )


def former_of(user: User, person: Person, now: str) -> tuple[Former, ...]:
    """Return what a user was known by before, once it is this person.

    Whoever comes back did not have it meanwhile: it may have been a successor's.
    """
    still = {said for said in _said(person) if user.unmapped_at is None or not _passed_on(said)}
    end = now if user.unmapped_at is None else to_text(user.unmapped_at)  # until then the directory said so
    lost = [Former(*said, end, user.began(*said)) for said in _said(user.person) if said not in still]
    kept, times = list[Former](), Counter[Said]()
    for each in reversed((*user.former, *lost)):
        times[each.kind, each.value] += 1
        kept += [each] if times[each.kind, each.value] <= MAX_TIMES else []
    return tuple(reversed(kept[:MAX_FORMER]))


def later_of(user: User, person: Person, since: Since) -> dict[Said, Since]:
    """Return what is said only since later than the rest, once a user is this person since then."""
    before, begun = set(_said(user.person)), dict[Said, Since]()
    for said in _said(person):
        begun[said] = user.began(*said) if said in before else since
        if said in before and user.unmapped_at is not None and _passed_on(said):  # perhaps, if nobody else had it
            begun[said] = Since(since.at, to_text(user.unmapped_at))
    return {said: each for said, each in begun.items() if each != user.since}


def _passed_on(said: Said) -> bool:
    """Say whether something can be somebody else's when a user has left."""
    return said[0] in IDENTITIES and said[0] != "object_id"


def _said(person: Person) -> list[Said]:
    """List every member that is not empty with its value."""
    return [(name, value) for name in (*SINGLE, *SEVERAL) for value in values(person, name)]


def _identity(kind: str, value: str, since: Since, until: int) -> Identity:
    begin = _micros(since.at, EVER)
    reaches = EVER if since.reaches is None else min(begin, _micros(since.reaches, EVER))
    return Identity(kind, value, begin, reaches, until)


def _micros(text: str, otherwise: int) -> int:
    return to_micros(from_text(text)) if text else otherwise
