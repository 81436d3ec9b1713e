"""An account that may sign in to the page: roles, password, second factors, and its form as a document.

`stamp` grows whenever the account's sessions must end: after a new password, other roles or disabling.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from storage.access.actor import MAX_NAME as MAX_NAME
from storage.access.actor import canonical as canonical  # other modules find accounts by it
from storage.timestamps import from_text, to_text

MAX_PASSKEYS = 20  # of one account; people have one for each device
MAX_PLACES = 12  # networks remembered for one account, and as many addresses: home, office, telephone, some travels
PLACE_LASTS = timedelta(days=180)  # since the last sign-in from there; after that, the place counts as new
PLACE_BYTES = 16  # of a digest: long enough that no two networks share one


@dataclass(frozen=True, slots=True)
class Invitation:
    """A one-time link for setting a password."""

    digest: str = field(repr=False)
    """SHA-256 of customer and secret."""
    expires_at: datetime
    """When it expires."""


@dataclass(frozen=True, slots=True)
class Passkey:
    """The public half of a passkey (WebAuthn)."""

    id: str = field(repr=False)
    """Credential id, hex."""
    data: str = field(repr=False)
    """Attested credential data as the browser sent them, hex."""
    label: str = field(repr=False)
    """Name that its owner gave it."""
    created_at: datetime
    """When it was registered."""
    count: int = 0
    """The authenticator's counter at the last use; 0 if it has none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A network or an address that an account signed in from."""

    digest: str
    """Digest of the account's id and the network or address, hex; neither is stored itself."""
    seen_at: datetime
    """When the account last signed in from there."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account of one customer."""

    id: str
    """Random id."""
    name: str = field(repr=False)
    """Name to sign in with, which the audit log also shows."""
    roles: tuple[str, ...]
    """Roles."""
    created_at: datetime
    """When it was created."""
    stamp: int = 0
    """Sessions that began with another stamp have ended."""
    password: str | None = field(default=None, repr=False)
    """Hash of the password with parameters and salt, None until one is set."""
    invitation: Invitation | None = None
    """The open link, None if there is none."""
    totp: str | None = field(default=None, repr=False)
    """Secret of the authenticator app, base32."""
    totp_step: int = 0
    """The newest time step whose code was accepted; no code is accepted twice."""
    recovery: tuple[str, ...] = field(default=(), repr=False)
    """SHA-256 of the unused recovery codes."""
    passkeys: tuple[Passkey, ...] = field(default=(), repr=False)
    """Passkeys."""
    signed_in_at: datetime | None = None
    """Last successful sign-in."""
    disabled: bool = False
    """Whether the account is kept but nobody can sign in to it."""
    places: tuple[Place, ...] = field(default=(), repr=False)
    """Networks that the account signed in from, the latest last."""
    addresses: tuple[Place, ...] = field(default=(), repr=False)
    """Addresses that the account signed in from, the latest last."""

    @property
    def second_factor(self) -> bool:
        """Return whether the password alone is not enough."""
        return self.totp is not None or bool(self.passkeys)

    def usual(self, place: str, now: datetime) -> bool:
        """Return whether the account signed in from a network or address (`place`) within PLACE_LASTS."""
        digest, known = _digest(self.id, place), (*self.places, *self.addresses)
        return any(each.digest == digest and now - each.seen_at <= PLACE_LASTS for each in known)

    def seen_at(self, network: str, address: str, now: datetime) -> "Account":
        """Return the account with this sign-in added; drop old places, and the oldest beyond MAX_PLACES."""

        def added(known: Sequence[Place], place: str) -> tuple[Place, ...]:
            digest = _digest(self.id, place)
            others = [each for each in known if each.digest != digest and now - each.seen_at <= PLACE_LASTS]
            return (*others, Place(digest, now))[-MAX_PLACES:]

        return replace(self, places=added(self.places, network), addresses=added(self.addresses, address))

    def ended(self, **changes: Any) -> "Account":
        """Return the account with these changes, which end its sessions."""
        return replace(self, stamp=self.stamp + 1, **changes)

    def document(self) -> dict[str, Any]:
        """Return the account as JSON values, to be sealed."""
        return {
            "name": self.name,
            "roles": list(self.roles),
            "created_at": to_text(self.created_at),
            "stamp": self.stamp,
            "password": self.password,
            "invitation": self.invitation and [self.invitation.digest, to_text(self.invitation.expires_at)],
            "totp": self.totp,
            "totp_step": self.totp_step,
            "recovery": list(self.recovery),
            "passkeys": [[k.id, k.data, k.label, to_text(k.created_at), k.count] for k in self.passkeys],
            "signed_in_at": self.signed_in_at and to_text(self.signed_in_at),
            "disabled": self.disabled,
            "places": [[place.digest, to_text(place.seen_at)] for place in self.places],
            "addresses": [[place.digest, to_text(place.seen_at)] for place in self.addresses],
        }

    @classmethod
    def parse(cls, id: str, found: Mapping[str, Any]) -> "Account":
        """Parse what `document` returned; raises KeyError, TypeError, ValueError."""
        return cls(
            id=id,
            name=str(found["name"]),
            roles=tuple(str(role) for role in found["roles"]),
            created_at=from_text(found["created_at"]),
            stamp=int(found["stamp"]),
            password=_text(found["password"]),
            invitation=_invitation(found["invitation"]),
            totp=_text(found["totp"]),
            totp_step=int(found["totp_step"]),
            recovery=tuple(str(digest) for digest in found["recovery"]),
            passkeys=tuple(_passkey(item) for item in found["passkeys"]),
            signed_in_at=from_text(found["signed_in_at"]) if found["signed_in_at"] else None,
            disabled=bool(found["disabled"]),
            places=_places(found.get("places", ())),  # missing in documents of earlier versions
            addresses=_places(found.get("addresses", ())),
        )


def _places(found: Sequence[Any]) -> tuple[Place, ...]:
    return tuple(Place(str(each), from_text(at)) for each, at in found)


def _digest(id: str, place: str) -> str:
    """Hash a network or address for one account, so that accounts do not reveal that they share one."""
    return hashlib.sha256(f"place\0{id}\0{place}".encode("utf-8", "replace")).digest()[:PLACE_BYTES].hex()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _invitation(found: Sequence[Any] | None) -> Invitation | None:
    return None if found is None else Invitation(str(found[0]), from_text(found[1]))


def _passkey(found: Sequence[Any]) -> Passkey:
    id, data, label, created_at, count = found
    return Passkey(str(id), str(data), str(label), from_text(created_at), int(count))
