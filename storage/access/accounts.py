"""The accounts of one customer: a small document that several processes may change, and that the daemon then rereads.

    made = accounts.create("anna", ["admin"], now)       made.secret goes into a one-time link and is not stored
    accounts.invited(made.secret, now)                   returns the account of a link
    accounts.change(id, lambda account: account.ended(password=...))
    await accounts.changing(id, ...)                     the same, without blocking the event loop

Everything but a random id is sealed under the account's own leaf (storage.keys.sealing), so the disk reveals nothing,
and a removed account is unreadable in every copy of the document. With one node, the document is a file in the
customer's folder and is restored with that folder.
"""

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from storage.access import actor
from storage.access.account import Account, Invitation, canonical
from storage.access.api_tokens import ROLES
from storage.access.documents import Document, FileDocument, Replacement
from storage.errors import Forgotten, SealBroken, StorageError
from storage.files.durable_files import Disk
from storage.keys import sealing

FILE_NAME = "accounts.json"
WHAT = "accounts"
MAX_ACCOUNTS = 1000  # of one customer; opening each takes 0.1 ms whenever the file has changed
SECRET_BYTES = 32  # of a one-time link: cannot be guessed, so a plain hash protects it
MAX_SECRET = 256  # characters of a presented secret that are read
INVITATION = timedelta(hours=1)
_KIND = "account"

Change = Callable[[Account], Account]


class Keys(sealing.DeletableKeys, Protocol):
    """Keys that count their cuts (storage.keys.key_store.CustomerKeys)."""

    @property
    def generation(self) -> int:
        """Grows with every cut."""
        ...


class AccountsError(StorageError):
    """The file of accounts is damaged, or the request makes no sense."""


class Created(NamedTuple):
    """An account with a new one-time link."""

    secret: str
    """Secret of the link, to be shown once."""
    account: Account
    """The account, as it is stored."""


@dataclass(frozen=True, slots=True)
class _Entry:
    leaf: int
    sealed: str = field(repr=False)
    account: Account


_Entries = dict[str, _Entry]


class Accounts:
    """The accounts of one customer, shared with other processes, and with other nodes if the document is."""

    def __init__(
        self,
        folder: Path,
        customer: str,
        keys: Keys,
        *,
        disk: Disk | None = None,
        document: Document | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Take the customer's folder, or the document; read nothing yet."""
        self._customer = customer
        self._keys = keys
        self._document: Document = document or FileDocument(folder, FILE_NAME, WHAT, keys.cut, disk)
        self._random = random
        self._known: tuple[tuple[int, ...] | None, dict[str, Account]] = (None, {})

    def all(self) -> tuple[Account, ...]:
        """Return all accounts, oldest first."""
        return tuple(self._fresh().values())

    def get(self, id: str) -> Account | None:
        """Return one account as it is now."""
        return self._fresh().get(id)

    def named(self, name: str) -> Account | None:
        """Return the account with this name in any spelling, None if there is none."""
        wanted = canonical(name)
        return next((account for account in self._fresh().values() if canonical(account.name) == wanted), None)

    def invited(self, secret: str, now: datetime) -> Account | None:
        """Return the account of a one-time link; None if unknown, used, expired, or the account is disabled."""
        return next((account for account in self._fresh().values() if self.admits(account, secret, now)), None)

    def admits(self, account: Account, secret: str, now: datetime) -> bool:
        """Return whether this is the secret of the account's one-time link, and the link is still valid."""
        link, digest = account.invitation, self._digest(secret[:MAX_SECRET])
        return bool(
            link and not account.disabled and now < link.expires_at and hmac.compare_digest(link.digest, digest)
        )

    def like(self, name: str) -> Account | None:
        """Return an account whose name looks like this one, None if there is none."""
        return next((account for account in self._fresh().values() if actor.alike(account.name, name)), None)

    def create(self, name: str, roles: Sequence[str], now: datetime, taken: Collection[str] = ()) -> Created:
        """Create an account with a one-time link. Raises AccountsError, also if the name looks like one of `taken`.

        `taken`: names of tokens, because both appear in the audit log.
        """
        _check_roles(roles)
        if fault := actor.fault_of(name):
            raise AccountsError(f"the name of an account {fault}")
        if any(actor.alike(name, other) for other in taken):
            raise AccountsError("this customer has a token of that name", "choose another, or revoke the token")
        account = Account(self._random(8).hex(), name.strip(), tuple(dict.fromkeys(roles)), now)
        secret, account = self._invite(account, now)

        def add(kept: _Entries) -> None:
            if any(actor.alike(entry.account.name, name) for entry in kept.values()):
                raise AccountsError("this customer has an account of that name", "recorder admin reset lets it in")
            if len(kept) >= MAX_ACCOUNTS:
                raise AccountsError("this customer has too many accounts", "remove those that are not used")
            kept[account.id] = self._sealed(sealing.new_leaf(self._keys), account)

        self._document.change(lambda data: self._changed(data, add))
        return Created(secret, account)

    def invite(self, id: str, now: datetime, *, factors: bool = False) -> Created:
        """Give an account a new one-time link, which voids the old one; `factors`: also remove its second factors."""
        secrets: list[str] = []

        def again(account: Account) -> Account:
            cleared = account.ended(totp=None, totp_step=0, recovery=(), passkeys=()) if factors else account
            cleared = replace(cleared, places=(), addresses=())  # somebody else may have signed in from there
            secret, changed = self._invite(cleared, now)
            secrets.append(secret)
            return changed

        changed = self.change(id, again)
        return Created(secrets[0], changed)

    def change(self, id: str, change: Change) -> Account:
        """Change an account under a lock. Raises AccountsError if it does not exist, and any error of `change`."""
        changed: list[Account] = []
        self._document.change(lambda data: self._changed(data, partial(self._exchange, id, change, changed)))
        return changed[0]

    async def changing(self, id: str, change: Change) -> Account:
        """Change an account as `change` does, without blocking the event loop; `change` runs in a thread."""
        changed: list[Account] = []
        await self._document.changing(lambda data: self._changed(data, partial(self._exchange, id, change, changed)))
        return changed[0]

    def _exchange(self, id: str, change: Change, changed: list[Account], kept: _Entries) -> None:
        entry = kept.get(id)
        if entry is None:
            raise AccountsError("this account no longer exists")
        changed.append(change(entry.account))
        if changed[0] != entry.account:
            _check_roles(changed[0].roles)
            kept[id] = self._sealed(entry.leaf, changed[0])

    def remove(self, id: str) -> bool:
        """Delete an account so that no copy of the document can open it; return False if it did not exist."""
        removed: list[_Entry] = []

        def drop(kept: _Entries) -> None:
            if id in kept:
                removed.append(kept.pop(id))

        self._document.change(lambda data: self._changed(data, drop))
        return bool(removed)

    def leaves(self) -> list[int]:
        """Return the leaves that accounts are sealed under, so that none is allocated again."""
        return [_place(item)[1] for item in self._items(self._document.read())]

    def _invite(self, account: Account, now: datetime) -> tuple[str, Account]:
        secret = self._random(SECRET_BYTES).hex()
        return secret, replace(account, invitation=Invitation(self._digest(secret), now + INVITATION))

    def _digest(self, secret: str) -> str:
        """Hash a secret for one customer, so that a file moved to another customer admits nobody."""
        return hashlib.sha256(f"invitation\0{self._customer}\0{secret}".encode("utf-8", "replace")).hexdigest()

    def _fresh(self) -> dict[str, Account]:
        """Read the document again if it was replaced (it is never changed in place), or if a key was cut."""
        seen, known = self._known
        signature = self._document.signature()
        now = signature and (*signature, self._keys.generation)
        if now != seen:
            known = {id: entry.account for id, entry in self._read(self._document.read()).items()}
            self._known = now, known  # in one step, because threads read here at the same time
        return known

    def _items(self, data: bytes | None) -> list[Any]:
        if data is None:
            return []
        try:
            return list(json.loads(data)["accounts"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._damaged() from None

    def _read(self, data: bytes | None) -> _Entries:
        """Open every account; skip one whose leaf is cut: it was removed, even if this copy of the document has it."""
        found: _Entries = {}
        for item in self._items(data):
            try:
                id, leaf, sealed = _place(item)
                document = sealing.unseal(self._keys, leaf, _KIND, id, base64.b64decode(sealed, validate=True))
                found[id] = _Entry(leaf, sealed, Account.parse(id, document))
            except Forgotten:
                continue
            except (ValueError, KeyError, TypeError, SealBroken):
                raise self._damaged() from None
        return found

    def _sealed(self, leaf: int, account: Account) -> _Entry:
        sealed = sealing.seal(self._keys, leaf, _KIND, account.id, account.document())
        return _Entry(leaf, base64.b64encode(sealed).decode(), account)

    def _damaged(self) -> AccountsError:
        return AccountsError(
            f"the accounts of customer {self._customer} cannot be read",
            f"restore {FILE_NAME}, or delete it and make new accounts",
        )

    def _changed(self, data: bytes | None, change: Callable[[_Entries], None]) -> Replacement | None:
        """Return the new document, None if `change` changed nothing; cut the leaves of removed accounts."""
        before = self._read(data)
        kept = dict(before)
        change(kept)
        if kept == before:
            return None
        gone = tuple(entry.leaf for id, entry in before.items() if id not in kept)
        return Replacement(_serialise(kept), gone)


def _check_roles(roles: Sequence[str]) -> None:
    if not roles or any(role not in ROLES for role in roles):
        raise AccountsError(f"an account needs roles out of {', '.join(ROLES)}")


def _place(item: dict[str, Any]) -> tuple[str, int, str]:
    """Parse id, leaf and sealed value of an entry."""
    return str(item["id"]), int(item["leaf"], 16), str(item["sealed"])


def _serialise(kept: _Entries) -> bytes:
    items = [{"id": id, "leaf": f"{entry.leaf:012x}", "sealed": entry.sealed} for id, entry in kept.items()]
    return json.dumps({"version": 1, "accounts": items}, indent=1).encode()
