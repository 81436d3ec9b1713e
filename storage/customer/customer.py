"""One customer: keys and vault at once, so that calls can be recorded; everything that needs the index on first use.

Loading the code of the index takes as long as everything that a recording needs; after a crash there is no time for it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from storage.customer.settings import VAULT, CustomerSettings, Place, customer_folder
from storage.errors import Incomplete, OtherNode, StorageError
from storage.keys.key_store import CustomerKeys
from storage.vault.vault import Vault

if TYPE_CHECKING:
    from storage.access.accounts import Accounts
    from storage.access.api_tokens import Credentials
    from storage.access.shared_access import SharedAccess
    from storage.attachments.annotations import Annotations
    from storage.attachments.attachments import Attachments
    from storage.audit.audit_log import Audit
    from storage.calls.call_index import Calls
    from storage.customer.wiring import Components
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


def _assemble(settings: CustomerSettings, place: Place, keys: CustomerKeys, vault: Vault) -> Components:
    from storage.customer.wiring import assemble  # takes half a second to import; no recording waits for it

    return assemble(settings, place, keys, vault)


def _vault(folder: Path, name: str, keys: CustomerKeys, place: Place) -> Vault:
    if place.objects is None:
        return Vault(folder, name, keys)
    from storage.vault.object_vault import ObjectVault  # only for those who have an object store

    return ObjectVault(folder, name, keys, place.objects)


def _share(folder: Path, name: str) -> int:
    """Hold a shared lock on the folder, so that nobody removes the customer meanwhile (storage.customer.removal).

    Returns the descriptor, -1 if there is no folder. Raises StorageError if it is being removed.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    except OSError as problem:
        raise StorageError(f"the folder of customer {name} cannot be opened", str(problem.strerror)) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise StorageError(f"customer {name} is being removed", "wait until recorder customer remove is done") from None
    except OSError:  # a file system without such locks
        pass
    return fd


class Customer:
    """Everything of one customer.
    Components that need the index are opened by `complete`, or at their first use. After that has failed, using them
    raises Incomplete until `complete` succeeds, because callers cannot wait for a failing disk.
    """

    def __init__(
        self,
        settings: CustomerSettings,
        keys: CustomerKeys,
        place: Place,
        assemble: Callable[[CustomerSettings, Place, CustomerKeys, Vault], Components] = _assemble,
    ) -> None:
        """Take the key tree and open nothing; `assemble` makes the rest later, or raises StorageError."""
        self.name = settings.name
        #: What people are shown; the name identifies.
        self.title = settings.title or settings.name
        self.settings = settings
        #: Folder of everything but the keys.
        self.folder = customer_folder(place.data_dir, settings.name)
        self.keys = keys
        #: Media and signalling.
        self.vault = _vault(self.folder / VAULT, self.name, keys, place)
        self.place = place
        self.now = place.now
        self._assemble = assemble
        self._lock = Lock()
        self._components: Components | None = None
        self._shared = _share(self.folder, self.name)
        self._failed = False

    # Tokens and accounts do not need the index, so that clients get 503 instead of 401 while it is not open.

    @cached_property
    def credentials(self) -> Credentials:
        """API tokens."""
        from storage.access.api_tokens import Credentials

        document = self.shared.documents.tokens if self.shared else None
        return Credentials(self.folder, self.name, document=document)

    @cached_property
    def accounts(self) -> Accounts:
        """Accounts that may sign in to the page."""
        from storage.access.accounts import Accounts

        document = self.shared.documents.accounts if self.shared else None
        return Accounts(self.folder, self.name, self.keys, document=document)

    @cached_property
    def shared(self) -> SharedAccess | None:
        """What several nodes share of who signs in; None with one node."""
        if not self.place.several:
            return None
        from storage.access.shared_access import SharedAccess

        return SharedAccess(self.folder, self.keys, lambda: self.database, self._cut)

    async def _cut(self, *leaves: int) -> None:
        """Delete the keys of removed accounts, in the writing transaction of this task."""
        import asyncio  # no recording waits for it

        await asyncio.to_thread(self.keys.cut, *leaves)

    @property
    def database(self) -> Database:
        """Database of the index, rules, requests and all other rows."""
        return self._opened.database

    @property
    def calls(self) -> Calls:
        """Index of calls."""
        return self._opened.calls

    @property
    def audit(self) -> Audit:
        """Audit log."""
        return self._opened.audit

    @property
    def holds(self) -> Holds:
        """Legal holds."""
        return self._opened.holds

    @property
    def waivers(self) -> Waivers:
        """Permissions for immediate erasure."""
        return self._opened.waivers

    @property
    def rules(self) -> Rules:
        """Retention rules."""
        return self._opened.rules

    @property
    def erasures(self) -> Erasures:
        """Erasures: requests, and the work of carrying them out."""
        return self._opened.erasures

    @property
    def retention(self) -> Retention:
        """Retention: the calls that are due by the rules."""
        return self._opened.retention

    @property
    def annotations(self) -> Annotations:
        """Corrections of calls."""
        return self._opened.annotations

    @property
    def attachments(self) -> Attachments:
        """Transcripts and chats of calls."""
        return self._opened.attachments

    @property
    def exports(self) -> Exports:
        """Exports."""
        return self._opened.exports

    @property
    def requests(self) -> Requests:
        """Requests of data subjects."""
        return self._opened.requests

    @property
    def candidates(self) -> Candidates:
        """Finds the calls that may concern a person who asks."""
        return self._opened.candidates

    @property
    def column_sets(self) -> ColumnSets:
        """Named selections of export columns."""
        return self._opened.column_sets

    @property
    def users(self) -> Users:
        """Directory users."""
        return self._opened.users

    @property
    def correlation(self) -> Correlation:
        """Matches the parties of calls with directory users."""
        return self._opened.correlation

    @property
    def gap(self) -> Gap:
        """Day from which on the index may lack recordings."""
        return self._opened.gap

    @property
    def journal(self) -> Journal:
        """Journal: a second copy of what is only in the database."""
        return self._opened.journal

    @property
    def whole(self) -> bool:
        """Say whether all components exist."""
        return self._components is not None

    @property
    def served(self) -> bool:
        """Say whether all components exist and the database was opened; it may be unreachable again nevertheless."""
        return self._components is not None and self._components.database.served

    def complete(self) -> None:
        """Make all components, without touching a database; any thread may call it. Raises StorageError."""
        with self._lock:
            if self._components is None:
                try:
                    self._components = self._assemble(self.settings, self.place, self.keys, self.vault)
                except BaseException:
                    self._failed = True
                    raise
                self._failed = False

    async def open_database(self) -> None:
        """Open the database and bring it up to date with journal and cut log before anybody uses it.

        Raises StorageError if it is unreachable or damaged; may be tried again.
        """
        from storage.customer import node_claim

        opened, me = self._opened, node_claim.Identity.of(self.place, self.keys)
        await opened.database.prepare(self.now(), lambda connection: node_claim.check(connection, me))
        with opened.database.opening():
            if self.place.claims:
                await node_claim.take(opened.database, me)
            await opened.catch_up()
            if self.shared is not None:
                await self.shared.serve()
        opened.database.serve()

    async def renew_claim(self) -> None:
        """Say in the database that this node still serves it, within every `node_claim.STALE_SECONDS`.

        Raises OtherNode, after which the database is closed for everybody and must be opened again.
        """
        from storage.customer import node_claim

        try:
            await node_claim.renew(self.database, node_claim.Identity.of(self.place, self.keys))
        except OtherNode:
            self.database.refuse()
            raise

    async def give_up_claim(self) -> None:
        """Let another node take the database at once, as this one stops for good."""
        from storage.customer import node_claim

        if self.served and self.place.claims:
            await node_claim.give_up(self.database, node_claim.Identity.of(self.place, self.keys))

    async def close(self) -> None:
        """Write what is queued, and close everything that was opened."""
        if self.shared is not None:
            self.shared.close()
        if self._components is not None:
            self._components.audit.close()
            await self._components.database.close()
        if self._shared >= 0:
            os.close(self._shared)
            self._shared = -1

    @property
    def _opened(self) -> Components:
        """Return the components; the first caller makes them. Raises Incomplete."""
        if self._components is None:
            if not self._failed:
                self.complete()
            if self._components is None:
                raise Incomplete(f"customer {self.name} is not open yet", "it is tried again")
        return self._components
