"""The API tokens of one customer: a small document that several processes may change, and that the daemon then rereads.

Only SHA-256 hashes are stored. That would not be enough for passwords, but a token is 256 random bits and cannot be
guessed.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from storage.access.actor import Actor, Kind, alike, canonical, fault_of
from storage.access.documents import Document, FileDocument, Replacement
from storage.errors import StorageError
from storage.files.durable_files import Disk
from storage.timestamps import from_text, to_text

FILE_NAME = "tokens.json"
WHAT = "tokens"
ROLES = ("admin", "listener", "privacy", "approver", "auditor", "operator")
TOKEN_BYTES = 32  # 256 bits: cannot be guessed, so a plain hash protects it
MAX_TOKEN = 256  # characters of a presented token that are read
MAX_TOKENS = 10_000  # of one customer; a file with so many has 3 MB and is read in 50 ms
PREFIX = "rec_"  # lets secret scanners recognise a token that leaked


class CredentialsError(StorageError):
    """The file of tokens is damaged, or the request makes no sense."""


class NameTaken(CredentialsError):
    """A token of that name could be mistaken for somebody else's."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A token as it is stored."""

    id: str
    """Random id."""
    customer: str
    """Name of the customer."""
    name: str
    """Name of its holder in the audit log."""
    roles: tuple[str, ...]
    """Roles."""
    created_at: datetime
    """When it was created."""
    expires_at: datetime | None
    """When it expires, None never."""
    digest: str
    """SHA-256 of customer and token."""
    account: str = ""
    """Id of the account of its owner, "" if not given; account and token then count as one person."""

    @property
    def actor(self) -> Actor:
        """Return the identity that acts with this token."""
        return Actor(Kind.TOKEN, self.id, self.name, self.account)

    def valid(self, now: datetime) -> bool:
        """Return whether the token has not expired."""
        return self.expires_at is None or now < self.expires_at


Entries = list[Credential]


class Created(NamedTuple):
    """A new token."""

    token: str
    """The token, to be shown once."""
    credential: Credential
    """The token as it is stored."""


class Credentials:
    """The tokens of one customer, shared with other processes, and with other nodes if the document is."""

    def __init__(
        self,
        folder: Path,
        customer: str,
        *,
        disk: Disk | None = None,
        document: Document | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Take the customer's folder, or the document; read nothing yet."""
        self._customer = customer
        self._document: Document = document or FileDocument(folder, FILE_NAME, WHAT, disk=disk)
        self._random = random
        self._seen: tuple[int, ...] | None = None
        self._known: dict[str, Credential] = {}

    def create(
        self,
        name: str,
        roles: Sequence[str],
        now: datetime,
        expires_at: datetime | None = None,
        *,
        account: str = "",
        taken: Collection[str] = (),
    ) -> Created:
        """Create a token; return its secret, to be shown once, and the token as it is stored. Raises CredentialsError.

        Tokens may have the same name, but a name must not look like another token's or like one of `taken` (accounts).
        """
        _check(name, roles)
        if any(alike(name, other) for other in taken):
            raise NameTaken("this customer has an account of that name", "choose another name for the token")
        token = PREFIX + self._random(TOKEN_BYTES).hex()
        id = self._random(8).hex()
        kept = digest(self._customer, token)
        made = Credential(id, self._customer, name, tuple(dict.fromkeys(roles)), now, expires_at, kept, account)

        def add(all: Entries) -> Entries:
            if len(all) >= MAX_TOKENS:
                raise CredentialsError("this customer has too many tokens", "revoke those that are not used")
            if any(alike(name, c.name) and canonical(name) != canonical(c.name) for c in all):
                raise NameTaken("this customer has a token whose name looks the same", "choose another name")
            return [*all, made]

        self._change(add)
        return Created(token, made)

    def list(self) -> tuple[Credential, ...]:
        """Return all tokens, expired ones included, oldest first."""
        return tuple(self._fresh().values())

    def revoke(self, name: str) -> int:
        """Delete the tokens with this name, or the one with this id; return how many were deleted."""
        gone: Entries = []

        def drop(all: Entries) -> Entries:
            gone.extend(c for c in all if name in (c.name, c.id))
            return [c for c in all if c not in gone]

        self._change(drop)
        return len(gone)

    def check(self, token: str, now: datetime) -> Credential | None:
        """Return the token if it is valid, None if unknown, revoked or expired. Every change takes effect at once."""
        found = self._fresh().get(digest(self._customer, token[:MAX_TOKEN]))
        return found if found and found.valid(now) else None

    def _fresh(self) -> dict[str, Credential]:
        """Read the document again if it was replaced; it is never changed in place."""
        seen = self._document.signature()
        if seen != self._seen:
            self._known = {c.digest: c for c in self._parsed(self._document.read())}
            self._seen = seen
        return self._known

    def _parsed(self, data: bytes | None) -> Entries:
        if data is None:
            return []
        try:
            return [_parse(self._customer, item) for item in json.loads(data)["tokens"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise CredentialsError(
                f"the tokens of customer {self._customer} cannot be read",
                f"restore {self._document.name}, or delete it and make new tokens",
            ) from None

    def _change(self, change: Callable[[Entries], Entries]) -> None:
        """Replace the list durably if `change` returns another one."""

        def changed(data: bytes | None) -> Replacement | None:
            before = self._parsed(data)
            after = change(before)
            return None if after == before else Replacement(_serialise(after))

        self._document.change(changed)


def digest(customer: str, token: str) -> str:
    """Hash a token for one customer, so that a file moved to another customer admits nobody."""
    return hashlib.sha256(f"{customer}\0{token}".encode("utf-8", "replace")).hexdigest()


def _check(name: str, roles: Sequence[str]) -> None:
    if fault := fault_of(name):
        raise CredentialsError(f"the name of a token {fault}")
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise CredentialsError(f"a token needs roles out of {', '.join(ROLES)}")


def _serialise(all: Sequence[Credential]) -> bytes:
    items = [
        {
            "id": c.id,
            "name": c.name,
            "roles": list(c.roles),
            "created_at": to_text(c.created_at),
            "expires_at": None if c.expires_at is None else to_text(c.expires_at),
            "sha256": c.digest,
            **({"account": c.account} if c.account else {}),
        }
        for c in all
    ]
    return json.dumps({"version": 1, "tokens": items}, indent=1).encode()


def _parse(customer: str, item: dict[str, Any]) -> Credential:
    expires = item["expires_at"]
    return Credential(
        id=str(item["id"]),
        customer=customer,
        name=str(item["name"]),
        roles=tuple(str(role) for role in item["roles"]),
        created_at=from_text(item["created_at"]),
        expires_at=None if expires is None else from_text(expires),
        digest=str(item["sha256"]),
        account=str(item.get("account", "")),
    )
