"""One customer: keys and vault at once, so that calls can be recorded; the index and all that stands on it once asked.

The code of the index takes as long to load as all that a recording needs; a start after a kill has no time for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.errors import Incomplete
from storage.keys.key_store import CustomerKeys
from storage.keys.key_tree import LAST_LEAF
from storage.vault.vault import Vault

if TYPE_CHECKING:
    from storage.access.accounts import Accounts
    from storage.access.api_tokens import Credentials
    from storage.attachments.annotations import Annotations
    from storage.attachments.attachments import Attachments
    from storage.audit.audit_log import Audit
    from storage.calls.call_index import Calls
    from storage.database.database import Database
    from storage.directory.matcher import Correlation
    from storage.directory.user_store import Users
    from storage.erasure.erasures import Erasures
    from storage.erasure.holds import Holds
    from storage.erasure.waivers import Waivers
    from storage.exports.column_sets import ColumnSets
    from storage.exports.exports import Exports
    from storage.journal.index_gap import Gap
    from storage.journal.journal import Journal
    from storage.retention.rules import Rules
    from storage.retention.sweep import Retention
    from storage.subject_requests.candidates import Candidates
    from storage.subject_requests.cases import Requests

CUSTOMERS = "customers"
KEYS = "keys"
VAULT = "vault"
# The audit log is signed with a key of the tree, so that it stays the same when the root secret is rotated. The last
# leaf belongs to the year 2149: no recording has it and no cut of past days reaches it.
AUDIT_LEAF = LAST_LEAF
AUDIT_LABEL = "audit"


@dataclass(frozen=True, slots=True)
class CustomerSettings:
    """What storage needs to know of a customer."""

    name: str
    """Name, [a-z0-9-]{1,40}."""
    country: str = "DE"
    """How national numbers are read, ISO 3166."""
    retention_days: int | None = 180
    """Default rule of retention, None for ever."""
    approval: bool = False
    """A second person has to approve every request for erasure."""
    extension_digits: int = 0
    """Last digits of the users' numbers that are their extension, 0 where the directory says which it is."""
    purge_users: bool = False
    """An inactive user goes with the last recording."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a customer's things lie, and by which clock."""

    data_dir: Path
    """Folder of the node."""
    database: str
    """"sqlite", or the URL of a database."""
    now: Callable[[], datetime]
    """The wall clock."""


class Customer:
    """Everything of one customer."""

    database: Database
    """Index and everything that exists nowhere else."""
    calls: Calls
    """Index of calls."""
    credentials: Credentials
    """API tokens."""
    accounts: Accounts
    """Who may sign in to the page."""
    audit: Audit
    """Audit log."""
    holds: Holds
    """Legal holds."""
    waivers: Waivers
    """Permissions for immediate erasure."""
    rules: Rules
    """Retention rules."""
    erasures: Erasures
    """Requests for erasure, and what carries them out."""
    retention: Retention
    """What is due by the rules."""
    annotations: Annotations
    """Corrections beside calls."""
    attachments: Attachments
    """Transcripts and chats of calls."""
    exports: Exports
    """Exports that were asked for."""
    requests: Requests
    """Requests of people who were recorded."""
    candidates: Candidates
    """Finds the calls that may concern somebody who asks."""
    column_sets: ColumnSets
    """Columns of exports, under names."""
    users: Users
    """Directory users."""
    correlation: Correlation
    """Which of them took part in which call."""
    gap: Gap
    """From which day on the index may lack recordings."""
    journal: Journal
    """What exists only in the database, written beside it."""
    catch_up: Callable[[], Awaitable[object]]
    """Gives a lost database back what is not in the vault; does again what was erased since an old one."""

    def __init__(
        self, settings: CustomerSettings, keys: CustomerKeys, place: Place, assemble: Callable[[Customer], None]
    ) -> None:
        """Take the key tree, open nothing; `assemble` gives what is declared above, or raises StorageError."""
        self.name = settings.name
        self.settings = settings
        #: Where everything but the keys lies.
        self.folder = place.data_dir / CUSTOMERS / settings.name
        self.keys = keys
        #: Media and signalling.
        self.vault = Vault(self.folder / VAULT, self.name, keys)
        self.place = place
        self.now = place.now
        self._assemble = assemble
        self._lock = RLock()
        self._complete = False
        self._failed = False

    if not TYPE_CHECKING:  # a type checker is to know no other attributes than those above

        def __getattr__(self, name: str) -> Any:
            """Put together what is asked for and not there yet."""
            if name not in Customer.__annotations__:
                raise AttributeError(name)
            if self._failed:  # those who ask cannot wait for a disk that is ill
                raise Incomplete(f"customer {self.name} is not put together yet", "it is tried again")
            self.complete()
            return object.__getattribute__(self, name)

    def complete(self) -> None:
        """Put the rest together, which loads its code; nothing of the database is touched. Any thread may ask.

        Raises StorageError. Until it is called again and succeeds, what is not there raises Incomplete.
        """
        with self._lock:
            if not self._complete:
                try:
                    self._assemble(self)
                except BaseException:
                    self._failed = True
                    raise
                self._complete, self._failed = True, False

    @property
    def whole(self) -> bool:
        """Say whether everything is there."""
        return self._complete

    @property
    def served(self) -> bool:
        """Say whether everything is there and the database was opened; it may be away again nevertheless."""
        return self._complete and self.database.served

    async def open_database(self) -> None:
        """Bring the database up, and up to the ledger of erasures, before anybody is served from it.

        Raises StorageError if it is away or damaged; may be tried again.
        """
        await self.database.prepare(self.now())
        with self.database.opening():
            await self.catch_up()
        self.database.serve()

    async def close(self) -> None:
        """Write what waits and close everything that was opened."""
        if self._complete:
            self.audit.close()
            await self.database.close()


def audit_key(keys: CustomerKeys) -> Ed25519PrivateKey:
    """Give the key that signs a customer's audit log and receipts."""
    return Ed25519PrivateKey.from_private_bytes(keys.secret(AUDIT_LEAF, AUDIT_LABEL))
