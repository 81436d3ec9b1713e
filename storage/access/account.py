"""Somebody who may sign in to the page: roles, password, second factors, and how that becomes a document and back.

`stamp` grows whenever sessions of this account must end: another password, other roles, disabled.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from storage.access.actor import MAX_NAME as MAX_NAME
from storage.access.actor import canonical as canonical  # by which an account is found, too
from storage.timestamps import from_text, to_text

MAX_PASSKEYS = 20  # of one account; people have one a device
MAX_PLACES = 12  # networks of one account that are remembered: home, office, telephone, some travels; and addresses
PLACE_LASTS = timedelta(days=180)  # since the last sign-in from there; then it is as new as any other
PLACE_BYTES = 16  # of a digest: two networks never share one


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link by which somebody sets a password, once."""

    digest: str = field(repr=False)
    """SHA-256 of customer and secret."""
    expires_at: datetime
    """From when on it is worth nothing."""


@dataclass(frozen=True, slots=True)
class Passkey:
    """The public half of a passkey (WebAuthn)."""

    id: str = field(repr=False)
    """Credential id, hex."""
    data: str = field(repr=False)
    """Attested credential data as the browser sent them, hex."""
    label: str = field(repr=False)
    """What its owner calls it."""
    created_at: datetime
    """When it was put on file."""
    count: int = 0
    """The authenticator's counter when it was last used; 0 where it has none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A network or an address that an account signed in from."""

    digest: str
    """Of the account's id and the network or address, hex; neither is kept itself."""
    seen_at: datetime
    """When it last did."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account of one customer."""

    id: str
    """Random id."""
    name: str = field(repr=False)
    """What one signs in with, and what the audit log says."""
    roles: tuple[str, ...]
    """What it may do."""
    created_at: datetime
    """When it was made."""
    stamp: int = 0
    """Sessions that were begun with another stamp end."""
    password: str | None = field(default=None, repr=False)
    """Its hash with parameters and salt, None until one was set."""
    invitation: Invitation | None = None
    """The link that is out, None if there is none."""
    totp: str | None = field(default=None, repr=False)
    """Secret of the authenticator app, base32."""
    totp_step: int = 0
    """The newest time step whose code was taken: no code is taken twice."""
    recovery: tuple[str, ...] = field(default=(), repr=False)
    """SHA-256 of the recovery codes that are left."""
    passkeys: tuple[Passkey, ...] = field(default=(), repr=False)
    """Keys of devices."""
    signed_in_at: datetime | None = None
    """Last time that it got in."""
    disabled: bool = False
    """Kept, but cannot be signed in to."""
    places: tuple[Place, ...] = field(default=(), repr=False)
    """Networks that it signed in from, the last one at the end."""
    addresses: tuple[Place, ...] = field(default=(), repr=False)
    """Addresses that it signed in from, the last one at the end."""

    @property
    def second_factor(self) -> bool:
        """Say whether the password alone is not enough."""
        return self.totp is not None or bool(self.passkeys)

    def usual(self, place: str, now: datetime) -> bool:
        """Say whether it signed in from a network or an address not too long ago."""
        digest, known = _digest(self.id, place), (*self.places, *self.addresses)
        return any(each.digest == digest and now - each.seen_at <= PLACE_LASTS for each in known)

    def seen_at(self, network: str, address: str, now: datetime) -> "Account":
        """Return it with where it signs in from now; what was long ago, and the oldest of many, goes."""

        def added(known: Sequence[Place], place: str) -> tuple[Place, ...]:
            digest = _digest(self.id, place)
            others = [each for each in known if each.digest != digest and now - each.seen_at <= PLACE_LASTS]
            return (*others, Place(digest, now))[-MAX_PLACES:]

        return replace(self, places=added(self.places, network), addresses=added(self.addresses, address))

    def ended(self, **changes: Any) -> "Account":
        """Return it with these changes, after which its sessions end."""
        return replace(self, stamp=self.stamp + 1, **changes)

    def document(self) -> dict[str, Any]:
        """Return it as it is sealed."""
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
        """Read what `document` wrote; raises KeyError, TypeError, ValueError."""
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
            places=_places(found.get("places", ())),  # earlier ones have neither
            addresses=_places(found.get("addresses", ())),
        )


def _places(found: Sequence[Any]) -> tuple[Place, ...]:
    return tuple(Place(str(each), from_text(at)) for each, at in found)


def _digest(id: str, place: str) -> str:
    """Hash a network or address for one account, so that two accounts do not show that they share one."""
    return hashlib.sha256(f"place\0{id}\0{place}".encode("utf-8", "replace")).digest()[:PLACE_BYTES].hex()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _invitation(found: Sequence[Any] | None) -> Invitation | None:
    return None if found is None else Invitation(str(found[0]), from_text(found[1]))


def _passkey(found: Sequence[Any]) -> Passkey:
    id, data, label, created_at, count = found
    return Passkey(str(id), str(data), str(label), from_text(created_at), int(count))
