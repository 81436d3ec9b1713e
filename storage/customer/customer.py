"""One customer: opens keys and vault at once, so that calls can be recorded, and the rest on first use.

Loading the code of the index takes as long as loading everything else that a recording needs, and after a crash there
is no time for it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from storage.customer.settings import VAULT, CustomerSettings, Place, customer_folder
from storage.errors import Incomplete, OtherNode, StorageError
from storage.keys.key_store import CustomerKeys
from storage.turns import Alone, Turns
from storage.vault.vault import Vault

if TYPE_CHECKING:
    from storage.access.accounts import Accounts
    from storage.access.api_tokens import Credentials
    from storage.access.shared_access import SharedAccess
    from storage.attachments.annotations import Annotations
    from storage.attachments.attachments import Attachments
    from storage.audit.audit_copies import AuditCopies
    from storage.audit.audit_log import Audit
    from storage.calls.call_index import Calls
    from storage.customer.poll import Poll
    from storage.customer.wiring import Components
    from storage.database.database import Database
    from storage.directory.matcher import UserMatcher
    from storage.directory.user_store import Users
    from storage.erasure.erasures import Erasures
    from storage.erasure.holds import Holds
    from storage.erasure.waivers import Waivers
    from storage.exports.column_sets import ColumnSets
    from storage.exports.exports import Exports
    from storage.holders.holder import Holder
    from storage.journal.index_gap import Gap
    from storage.journal.journal import Journal
    from storage.keys.cutter import Cutter
    from storage.nodes.indexed import Indexed
    from storage.nodes.present import Nodes
    from storage.nodes.registry import Registry
    from storage.nodes.rows import NodeState
    from storage.retention.rules import Rules
    from storage.retention.sweep import Retention
    from storage.subject_requests.candidates import Candidates
    from storage.subject_requests.cases import Requests


def _assemble(settings: CustomerSettings, place: Place, keys: CustomerKeys, vault: Vault) -> Components:
    from storage.customer.wiring import assemble  # takes half a second to import, and recording does not need it

    return assemble(settings, place, keys, vault)


def _vault(folder: Path, name: str, keys: CustomerKeys, place: Place) -> Vault:
    if place.objects is None:
        return Vault(folder, name, keys)
    from storage.vault.object_vault import ObjectVault  # needed only with an object store

    return ObjectVault(folder, name, keys, place.objects, several=place.several)


def _share(folder: Path, name: str) -> int:
    """Lock the folder in shared mode, so that nobody removes the customer meanwhile (storage.customer.removal).

    Return the descriptor, -1 if there is no folder. Raises StorageError if the customer is being removed.
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
    """The storage of one customer.

    `complete`, or the first use, opens the components that need the index. If that fails, their use raises Incomplete
    until `complete` succeeds, because callers cannot wait for a failing disk.
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
        #: Name that people see; `name` identifies the customer.
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

    # --- several nodes -----------------------------------------------------------------------------------------------

    @property
    def several(self) -> bool:
        """Return whether several nodes share the database and the object store."""
        return self.place.several

    @cached_property
    def turns(self) -> Turns:
        """The turns of the jobs that one node does for all."""
        if not self.place.several:
            return Alone()
        from storage.nodes.leases import Leases  # needed only with several nodes

        return Leases(self.database, self.keys.node)

    @cached_property
    def nodes(self) -> Nodes | None:
        """The nodes that share the database, None if this one is alone."""
        if not self.place.several:
            return None
        from storage.nodes.present import Nodes

        return Nodes(self.database, self.keys.node)

    @cached_property
    def indexed(self) -> Indexed | None:
        """The times until which the calls of each node are in the index, None if this node is alone."""
        if not self.place.several:
            return None
        from storage.nodes.indexed import Indexed

        return Indexed(self.database, self.keys.node)

    @cached_property
    def poll(self) -> Poll:
        """The poll for changes by other nodes; use it only with several nodes."""
        from storage.customer.poll import Poll

        return Poll(self.database)

    def recording_day(self, day: int) -> int:
        """Return the day of the leaf for a recording that begins on `day` by our clock, in days since 1970-01-01."""
        return self.poll.recording_day(day) if self.place.several else day

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
        """Sign-in data that several nodes share; None with one node."""
        if not self.place.several:
            return None
        from storage.access.shared_access import SharedAccess

        return SharedAccess(self.folder, self.keys, lambda: self.database, self._cut)

    async def _cut(self, *leaves: int) -> None:
        """Delete the keys of removed accounts, in the writing transaction of this task."""
        await self.cutter.cut(*leaves)

    @property
    def cutter(self) -> Cutter:
        """Cuts leaves for good."""
        return self._opened.cutter

    @property
    def holder(self) -> Holder | None:
        """This node as one of several holders of the keys; None if it is the only one."""
        return self._opened.holder

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
    def audit_copies(self) -> AuditCopies | None:
        """Copies of the audit logs of all nodes, None if one node has the database to itself."""
        return self._opened.audit_copies

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
        """Subject requests."""
        return self._opened.requests

    @property
    def candidates(self) -> Candidates:
        """Finds the calls that may concern the person of a subject request."""
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
    def user_matcher(self) -> UserMatcher:
        """Matches the parties of calls with directory users."""
        return self._opened.user_matcher

    @property
    def gap(self) -> Gap:
        """Day from which the index may lack recordings."""
        return self._opened.gap

    @property
    def registry(self) -> Registry:
        """The row of this node among those that share the database."""
        return self._opened.registry

    @property
    def journal(self) -> Journal:
        """Journal: a second copy of the rows that are only in the database."""
        return self._opened.journal

    @property
    def whole(self) -> bool:
        """Return whether all components exist."""
        return self._components is not None

    @property
    def served(self) -> bool:
        """Return whether all components exist and the database was opened; it may have become unreachable since."""
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
        opened = self._opened
        try:
            await opened.database.prepare(self.now(), opened.registry.check)
        except OtherNode:
            if opened.holder is not None and not opened.holder.gone:
                with opened.database.opening(), suppress(StorageError):  # the error above says more
                    await opened.holder.depart()  # perhaps this node was retired while it was away
            raise
        with opened.database.opening():
            await opened.registry.begin()
            if opened.holder is not None:
                await opened.holder.begin()
            await opened.catch_up()
            if self.place.several:
                async with opened.database.writing() as connection:
                    await opened.erasures.join(connection)
            await opened.registry.settle()
            if self.shared is not None:
                await self.shared.serve()
        opened.database.serve()

    async def renew_claim(self) -> NodeState:
        """Renew this node's claim to the database, at least once in STALE_SECONDS; return the node's state.

        Raises OtherNode, or DatabaseOlder if the database has lost data; it is then closed for everybody and must be
        opened again.
        """
        from storage.database.database import DatabaseOlder

        try:
            state = await self.registry.renew()
            if self.journal.shared is not None:
                await self.journal.shared.watch(self.database)
            return state
        except (OtherNode, DatabaseOlder):
            self.database.refuse()
            raise

    async def give_up_claim(self) -> None:
        """Let another node take the database at once, because this node stops for good."""
        if self.served:
            await self.registry.give_up()

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
