"""Persons as a directory describes them, and users as the recorder stores them; values only."""

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
IDENTITIES = ("email", "upn", "object_id", *SEVERAL)  # members that a party of a call can be recognised by
MAX_FORMER = 100  # former values kept of one user; the oldest are dropped
MAX_TIMES = 5  # entries kept of one former value, so that a user who leaves and returns often does not push out others
Said = tuple[str, str]  # a member and its value
EVER, NEVER = -(1 << 62), 1 << 62  # before and after every time, in microseconds


def by_name(name: str) -> tuple[bool, str, str]:
    """Return a sort key for a name: accents and case count only between names that are otherwise equal."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))
    return not plain.strip(), plain.casefold(), name  # users without a name come last


class UserState(StrEnum):
    """Whether the directory has a user."""

    ACTIVE = "active"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Person:
    """A directory's description of a person."""

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
    """Id in the directory; it stays when every other member changes."""
    numbers: tuple[str, ...] = field(default=(), repr=False)
    """Telephone numbers."""
    addresses: tuple[str, ...] = field(default=(), repr=False)
    """SIP addresses and further e-mail addresses."""

    @property
    def shown(self) -> str:
        """Return the name for lists, "" if there is none."""
        whole = " ".join(part for part in (self.first_name, self.last_name) if part)
        return whole or self.account_name or self.email or self.upn

    @property
    def key(self) -> str:
        """Return the value that identifies this person in the directory, "" if there is none."""
        named = self.object_id or self.upn or self.email or self.account_name
        return named.strip().casefold()


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a person that a directory reports."""

    object_id: str = field(repr=False)
    """Id in the directory."""
    members: Mapping[str, str | tuple[str, ...]] = field(repr=False)
    """Members of a Person that are different now; the others are unchanged."""
    gone: bool = False
    """The person is no longer in the directory."""

    def over(self, person: Person | None) -> Person:
        """Return the person after this change."""
        return replace(person or Person(), **{**self.members, "object_id": self.object_id})  # type: ignore[arg-type]  # each member has the type that Person needs


@dataclass(frozen=True, slots=True)
class Since:
    """The time since which a person has had a value in the directory."""

    at: str
    """When the directory first gave the value, RFC 3339; "" if unknown."""
    reaches: str | None = None
    """Since when the person may have had it already, unless somebody else is known to have had it; None: any time.

    A directory says nothing about the time before its first import. For later values, this is the time of the previous
    import: a person who was not in it cannot have had the number earlier.
    """


@dataclass(frozen=True, slots=True)
class Former:
    """A value that a user had before."""

    kind: str
    """Which member it was: email, numbers…"""
    value: str = field(repr=False)
    """The value."""
    until: str
    """When the directory stopped giving the value, RFC 3339."""
    since: Since = Since("")
    """Since when the directory gave the value."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A value that identifies a party of a call, and the time during which it belonged to the user.

    Times are microseconds since 1970-01-01 UTC.
    """

    kind: str
    """Which member it is."""
    value: str = field(repr=False)
    """The value."""
    since: int
    """Time since which the user certainly had it."""
    reaches: int
    """Time since which the user may have had it, if nobody else had it."""
    until: int
    """Time at which this ended; NEVER while it lasts."""


@dataclass(frozen=True, slots=True)
class User:
    """A directory user."""

    id: str
    """Random id, given by the recorder."""
    state: UserState
    """Active while the directory has it."""
    source: str
    """Which directory: csv, api, entra."""
    key: bytes = field(repr=False)
    """Keyed hash of the value that identifies it in that directory."""
    updated_at: datetime
    """Last change."""
    unmapped_at: datetime | None
    """When it left the directory."""
    leaf: int = field(repr=False)
    """Leaf under which all personal data are sealed."""
    person: Person
    """The directory's present or last description."""
    former: tuple[Former, ...] = field(default=(), repr=False)
    """Values that it had before."""
    since: Since = Since("")
    """Since when the directory has given the present values, except those in `later`."""
    later: Mapping[Said, Since] = field(default_factory=dict, repr=False)
    """Values that the directory gave later than `since`: member and value → from when."""

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Return every value that identifies a party of a call as this user, each with its time."""
        end = NEVER if self.unmapped_at is None else to_micros(self.unmapped_at)
        now = [_identity(name, value, self.began(name, value), end) for name, value in _said(self.person)]
        before = [_identity(each.kind, each.value, each.since, _micros(each.until, NEVER)) for each in self.former]
        return tuple(each for each in (*now, *before) if each.kind in IDENTITIES and each.value.strip())

    def began(self, kind: str, value: str) -> Since:
        """Return since when the directory has given this value of the user."""
        return self.later.get((kind, value), self.since)

    @property
    def known_by(self) -> tuple[str, ...]:
        """Return the id and every present or former value that identifies a party of a call as this user."""
        now = [value for name in IDENTITIES for value in values(self.person, name)]
        before = [each.value for each in self.former if each.kind in IDENTITIES]
        return tuple(dict.fromkeys(value for value in (self.id, *now, *before) if value.strip()))


def values(person: Person, name: str) -> tuple[str, ...]:
    """Return the values of one member, () if it is empty."""
    found = getattr(person, name)
    return found if isinstance(found, tuple) else (found,) if found else ()


def fields(person: Person) -> dict[str, Any]:
    """Return the members as JSON values; an empty text is null."""
    single = {name: getattr(person, name) or None for name in SINGLE}
    return {**single, **{name: list(getattr(person, name)) for name in SEVERAL}}


def told(person: Person, former: Sequence[Former], since: Since, later: Mapping[Said, Since]) -> dict[str, Any]:
    """Return the sealed part of a user's row as JSON values."""
    return {
        "person": fields(person),
        "former": [[each.kind, each.value, each.until, each.since.at, each.since.reaches] for each in former],
        "since": [since.at, since.reaches],
        "later": [[*which, each.at, each.reaches] for which, each in later.items()],
    }


def shown(record: Any, sealed: Mapping[str, Any]) -> User:
    """Build a user from its row and the opened sealed part."""
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
        Since(*sealed.get("since") or [to_text(updated)]),  # not recorded before schema 0002: use the last change
        {(kind, value): Since(at, reaches) for kind, value, at, reaches in sealed.get("later", ())},
    )


def former_of(user: User, person: Person, now: str) -> tuple[Former, ...]:
    """Return the former values of a user once it becomes this person.

    A user who returns did not have its values while it was away: a successor may have had them.
    """
    still = {said for said in _said(person) if user.unmapped_at is None or not _passed_on(said)}
    end = now if user.unmapped_at is None else to_text(user.unmapped_at)  # the directory gave the values until then
    lost = [Former(*said, end, user.began(*said)) for said in _said(user.person) if said not in still]
    kept, times = list[Former](), Counter[Said]()
    for each in reversed((*user.former, *lost)):
        times[each.kind, each.value] += 1
        kept += [each] if times[each.kind, each.value] <= MAX_TIMES else []
    return tuple(reversed(kept[:MAX_FORMER]))


def later_of(user: User, person: Person, since: Since) -> dict[Said, Since]:
    """Return the values that begin later than `user.since`, once the user becomes this person at `since`."""
    before, begun = set(_said(user.person)), dict[Said, Since]()
    for said in _said(person):
        begun[said] = user.began(*said) if said in before else since
        if said in before and user.unmapped_at is not None and _passed_on(said):  # another user may have had it
            begun[said] = Since(since.at, to_text(user.unmapped_at))
    return {said: each for said, each in begun.items() if each != user.since}


def _passed_on(said: Said) -> bool:
    """Return whether somebody else can get this value after the user has left."""
    return said[0] in IDENTITIES and said[0] != "object_id"


def _said(person: Person) -> list[Said]:
    """Return every non-empty member with its value."""
    return [(name, value) for name in (*SINGLE, *SEVERAL) for value in values(person, name)]


def _identity(kind: str, value: str, since: Since, until: int) -> Identity:
    begin = _micros(since.at, EVER)
    reaches = EVER if since.reaches is None else min(begin, _micros(since.reaches, EVER))
    return Identity(kind, value, begin, reaches, until)


def _micros(text: str, otherwise: int) -> int:
    return to_micros(from_text(text)) if text else otherwise
