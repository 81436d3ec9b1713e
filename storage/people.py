"""People as a directory knows them, and users as we keep them; values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from storage.instants import from_micros

SINGLE = ("first_name", "last_name", "account_name", "email", "upn", "object_id")
SEVERAL = ("numbers", "addresses")
IDENTITIES = ("email", "upn", "object_id", *SEVERAL)  # what a party of a call can be recognised by
MAX_FORMER = 100  # of one user; the oldest go first


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
    """The directory has this person no more."""

    def over(self, person: Person | None) -> Person:
        """Return the person as it is now."""
        return replace(person or Person(), **{**self.members, "object_id": self.object_id})  # type: ignore[arg-type]  # text where text is, texts where several are


@dataclass(frozen=True, slots=True)
class Former:
    """Something that a user was known by."""

    kind: str
    """Which member it was: email, numbers…"""
    value: str = field(repr=False)
    """What it said."""
    until: str
    """When the directory said so no more, RFC 3339."""


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
    """When the directory had it no more."""
    leaf: int = field(repr=False)
    """Leaf that everything personal is sealed under."""
    person: Person
    """Who it is."""
    former: tuple[Former, ...] = field(default=(), repr=False)
    """What it was known by before."""

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


def told(person: Person, former: Sequence[Former]) -> dict[str, Any]:
    """Return what is sealed."""
    return {"person": fields(person), "former": [[each.kind, each.value, each.until] for each in former]}


def shown(record: Any, sealed: Mapping[str, Any]) -> User:
    """Build a user from its row and the opened part of it."""
    kept = sealed["person"]
    members: dict[str, Any] = {name: kept.get(name) or "" for name in SINGLE}
    members.update((name, tuple(kept.get(name) or ())) for name in SEVERAL)
    return User(
        record.id,
        UserState(record.state),
        record.source,
        bytes(record.source_key or b""),
        from_micros(record.updated_at),
        None if record.unmapped_at is None else from_micros(record.unmapped_at),
        record.leaf,
        Person(**members),
        tuple(Former(*each) for each in sealed["former"]),
    )


def former_of(user: User, person: Person, now: str) -> tuple[Former, ...]:
    """Return what a user was known by before, once it is this person."""
    lost = [
        Former(name, value, now)
        for name in (*SINGLE, *SEVERAL)
        for value in values(user.person, name)
        if value not in values(person, name)
    ]
    return (*user.former, *lost)[-MAX_FORMER:]
