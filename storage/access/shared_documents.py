"""Tokens and accounts of a customer whose database several nodes share: a row for each, and a copy on each node.

Reading needs no database: every node reads its own copy, the same file that a single node has. So tokens and sessions
stay known while the database is away. `refresh` brings the copy up to date. A change replaces the row, in one writing
transaction, and then the copy.

Each change raises the version by one. A mark beside the copy (`.tokens.json.shared`) holds the version of the copy and
the hash of its content:

- If the row has a higher version, it replaces the copy.
- If the row has a lower version, or is missing, the database has lost a change: the copy is written back. The newest
  copy of any node wins, so a revoked token does not come back.
- A copy without a mark is from a node that was alone. The first such copy becomes the row; if there is a row already,
  the copy is put aside as `tokens.json.replaced`.
- A copy that does not match its mark was changed by a node that was alone again, and counts as one version higher.

The content is sealed under a leaf of the key tree that is never cut, bound to name and version, so that somebody who
can only write the database can forge no token. An account is sealed within, under its own leaf.
"""

import asyncio
import enum
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.access import accounts, api_tokens
from storage.access.documents import Change, FileDocument
from storage.database.database import Database
from storage.database.schema import shared_files
from storage.errors import DiskFailed, NoSpace, SealBroken, StorageError
from storage.files.durable_files import Disk, alone
from storage.keys.key_tree import LAST_LEAF
from storage.keys.row_keys import Keys

LABEL = "shared"
REPLACED = ".replaced"

T = TypeVar("T")
AsyncCut = Callable[..., Awaitable[object]]
"""Cuts leaves on every node, within the writing transaction of this task (storage.keys.cutter)."""


class Event(enum.StrEnum):
    """What `refresh` did besides taking over changes of other nodes."""

    TAKEN_OVER = "taken-over"  # this node's file became the row
    PUT_BACK = "put-back"  # the database had lost changes, and got them back from this node's copy
    REPLACED = "replaced"  # this node's own file was put aside


class News(NamedTuple):
    """An event that an operator should know about."""

    event: Event
    """What happened."""
    name: str
    """Name of the document."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A version of a document."""

    version: int  # 0: from a node that was alone
    content: bytes | None = field(repr=False)

    def newer(self, stored: "_Stored | None") -> bool:
        """Return whether this copy replaces a row: it is undamaged, and the row is older or missing."""
        return _whole(self.content) and (stored is None or self.version > stored.version)


class SharedDocument(FileDocument):
    """One document: a row, and a copy of it."""

    def __init__(self, folder: Path, name: str, what: str, shared: "SharedDocuments", disk: Disk) -> None:
        super().__init__(folder, name, what, disk=disk)
        self._mark = folder / f".{name}.shared"
        self._shared = shared

    def change(self, change: Change) -> None:
        """Replace the row; call this from any thread but the event loop's."""
        self._shared.run(self._shared.change(self, change))

    async def changing(self, change: Change) -> None:
        """Replace the row."""
        await self._shared.change(self, change)

    def own(self) -> _Stored:
        """Return this node's copy with its version."""
        with alone(self._lock, f"look at the {self.what}"):
            return self._own()

    def copy(self, new: _Stored, *, aside: bool = False) -> None:
        """Write a version as this node's copy, unless the copy is newer; `aside`: keep the copy that it replaces."""
        with alone(self._lock, f"change the {self.what}"):
            own = self._own()
            if own == new or own.version > new.version or new.content is None:
                return
            if own.content != new.content:
                if aside and own.content is not None:
                    self._disk.replace(self._path.with_name(self.name + REPLACED), own.content)
                self._disk.replace(self._path, new.content)
            self._disk.replace(self._mark, _mark(new.version, new.content))

    def _own(self) -> _Stored:
        content, mark = self._disk.read(self._path), self._disk.read(self._mark)
        if content is None or mark is None or not _whole(content):
            return _Stored(0, content)
        try:
            version = int(json.loads(mark)["version"])
        except (ValueError, KeyError, TypeError):  # no readable version: treated as the copy of a node that was alone
            return _Stored(0, content)
        return _Stored(version if mark == _mark(version, content) else version + 1, content)


class SharedDocuments:
    """The documents of one customer."""

    def __init__(
        self, folder: Path, keys: Keys, database: Callable[[], Database], cut: AsyncCut, disk: Disk | None = None
    ) -> None:
        """Take the folder of the copies; `database` returns the database, or raises StorageError."""
        disk = disk or Disk()
        self.tokens = SharedDocument(folder, api_tokens.FILE_NAME, api_tokens.WHAT, self, disk)
        self.accounts = SharedDocument(folder, accounts.FILE_NAME, accounts.WHAT, self, disk)
        self._keys = keys
        self._database = database
        self._cut = cut
        self._versions: dict[str, int] = {}  # of the copies, by name; empty until the first refresh
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "access")  # its own, because callers that wait may fill the default pool
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0

    def serve(self) -> None:
        """Let other threads make changes, which then happen in the running event loop."""
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=False)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work in the event loop and return its result; call this from another thread."""
        if self._loop is None:
            work.close()
            raise StorageError("the database is not open yet", "try again")
        if threading.get_ident() == self._loop_thread:  # it would wait for itself
            work.close()
            raise RuntimeError("use `changing` in the event loop")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def change(self, document: SharedDocument, change: Change) -> None:
        """Replace a document for all nodes; raises DatabaseAway, and any error of `change`."""
        async with self._database().writing() as connection:
            newest = _newest(await self._stored(connection, document.name), await self._apart(document.own))
            made = await self._apart(change, newest.content)
            if made is None:
                return
            if made.cut:
                await self._cut(*made.cut)
            new = _Stored(newest.version + 1, made.content)
            await self._put(connection, document.name, new)
        with suppress(NoSpace, DiskFailed):  # the change is committed; the copy follows when the disk works again
            await self._apart(document.copy, new)
            self._versions[document.name] = new.version

    async def refresh(self) -> list[News]:
        """Bring the copies of this node up to date; return events for the operator. Raises DatabaseAway, NoSpace."""
        async with self._database().reading() as connection:
            versions = await self.versions(connection)
        return [] if self.current(versions) else await self._follow()

    async def versions(self, connection: AsyncConnection) -> dict[str, int]:
        """Return the versions in the database."""
        found = await connection.execute(sa.select(shared_files.c.name, shared_files.c.version))
        return {row.name: row.version for row in found}

    def current(self, versions: Mapping[str, int]) -> bool:
        """Return whether the copies of this node have these versions."""
        return all(self._versions.get(each.name) == versions.get(each.name, 0) for each in (self.tokens, self.accounts))

    async def _follow(self) -> list[News]:
        async with self._turn:
            found = [await self._settle(document) for document in (self.tokens, self.accounts)]
        return [News(event, name) for event, name in found if event is not None]

    async def _settle(self, document: SharedDocument) -> tuple[Event | None, str]:
        """Bring row and copy to the newer of the two."""
        own = await self._apart(document.own)
        async with self._database().reading() as connection:
            stored = await self._stored(connection, document.name)
        event = None
        if own.newer(stored):
            event, stored = await self._put_back(document)
        elif stored is not None and own.version == 0 and own.content not in (None, stored.content):
            event = Event.REPLACED
        if stored is not None:
            await self._apart(lambda: document.copy(stored, aside=event is Event.REPLACED))
        self._versions[document.name] = 0 if stored is None else stored.version
        return event, document.name

    async def _put_back(self, document: SharedDocument) -> tuple[Event | None, _Stored | None]:
        """Write the copy into the database unless another node was faster."""
        async with self._database().writing() as connection:
            stored, own = await self._stored(connection, document.name), await self._apart(document.own)
            if not own.newer(stored):
                return None, stored
            new = _Stored(max(1, own.version), own.content)
            await self._put(connection, document.name, new)
        return (Event.PUT_BACK if own.version else Event.TAKEN_OVER), new

    async def _stored(self, connection: AsyncConnection, name: str) -> _Stored | None:
        found = (await connection.execute(sa.select(shared_files).where(shared_files.c.name == name))).first()
        if found is None:
            return None
        try:
            content = self._keys.unseal(LAST_LEAF, LABEL, found.content, _context(name, found.version))
        except SealBroken:
            hint = "restore keys and database of the same installation; until then nothing in the row is accepted"
            raise StorageError(f"{name} in the database was altered, or written with other keys", hint) from None
        return _Stored(found.version, content)

    async def _put(self, connection: AsyncConnection, name: str, new: _Stored) -> None:
        sealed = self._keys.seal(LAST_LEAF, LABEL, new.content or b"", _context(name, new.version))
        await connection.execute(shared_files.delete().where(shared_files.c.name == name))
        await connection.execute(shared_files.insert().values(name=name, version=new.version, content=sealed))

    async def _apart(self, work: Callable[..., T], *given: object) -> T:
        """Run work that waits for the disk in this customer's thread, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)


def _newest(stored: _Stored | None, own: _Stored) -> _Stored:
    """Return the newer of row and copy, from which a change starts."""
    return own if stored is None or own.newer(stored) else stored


def _whole(content: bytes | None) -> bool:
    """Return whether the content is a JSON object, so that a damaged copy is not spread to other nodes."""
    try:
        return isinstance(json.loads(content or b""), dict)
    except (ValueError, RecursionError):
        return False


def _mark(version: int, content: bytes) -> bytes:
    return json.dumps({"version": version, "sha256": hashlib.sha256(content).hexdigest()}).encode()


def _context(name: str, version: int) -> bytes:
    return f"{name}\0{version}".encode()
