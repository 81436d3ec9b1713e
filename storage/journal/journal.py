"""The journal: a copy, outside the database, of rows that exist nowhere else, so that a lost database loses none.

It has holds, corrections, attachments, retention rules, waivers, requests and receipts, column sets, and directory
users. Each transaction that changes one of them appends a line to `customers/NAME/papers.journal` before it commits
(docs/formats/journal.md). A database that starts without these rows gets them back from the journal.

    items = await journal.taken(connection, table, where)        rows as they are now in this transaction
    await journal.write([*dropped, *items])                      raises NoSpace, DiskFailed: then nothing is committed
    await replay.settle(journal, database)                       when the database is opened, before it is served
    await compaction.compact(journal, database)                  now and then: removes items that are out of date

A row is sealed under the same leaf as its secrets, so cutting the leaf of a call also erases its lines. Lines are
numbered, and each transaction stores the number of its line in the database (table `journal_mark`), so a comparison of
the two numbers shows whether the database is older than its journal. A line whose transaction never committed is
recognised by the next line, which has the same number.

If several nodes share a database, each has a journal of the rows written through it (storage.journal.node_journal).
"""

import asyncio
import base64
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.batches import BATCH, batches
from storage.database.database import Database, DatabaseOlder, once_committed, unless_committed, writer
from storage.database.schema import (
    annotations,
    attachments,
    column_sets,
    directories,
    erasure_calls,
    erasures,
    holds,
    journal_mark,
    metadata,
    requests,
    retention,
    retention_rules,
    users,
    waivers,
)
from storage.errors import Forgotten, SealBroken
from storage.files.append_log import LineFile
from storage.files.durable_files import Disk, disk_errors, opened
from storage.journal.journal_format import HEAD_BYTES, Head, boxes_of, counting, packed
from storage.keys import sealing
from storage.keys.cutter import Cutter
from storage.keys.key_tree import LAST_LEAF

FILE_NAME = "papers.journal"
BEGUN = f".{FILE_NAME}.begun"  # draft of a journal rewritten from the database
COMPACTED = f".{FILE_NAME}.part"  # draft of a compacted journal
RESERVE = 128 << 10  # bytes reserved beyond the end, because an erasure must be recorded even on a full disk
TABLES = (
    holds,
    annotations,
    attachments,
    retention,
    retention_rules,
    waivers,
    erasures,
    erasure_calls,
    users,
    directories,
    column_sets,
    requests,
)
_KIND = "journal"
_BYTES = "base64"

State = dict[str, dict[tuple[Any, ...], dict[str, Any]]]
"""Table → primary key → row."""


@dataclass(frozen=True, slots=True)
class Item:
    """A row that was written, or rows that were deleted."""

    leaf: int
    """Leaf that it is sealed under; LAST_LEAF for rows that are never erased."""
    table: str
    """Name of the table."""
    put: Mapping[str, Any] | None
    """The row, None if this deletes rows."""
    drop: Mapping[str, Any]
    """Column values of the rows to delete, {} for all rows of the table."""
    place: int = 0
    """Its place in the order of all nodes' items; 0 if only one node uses the database."""

    @property
    def key(self) -> tuple[Any, ...]:
        """Return the primary key of the row."""
        row = self.put or {}
        return tuple(row[column.name] for column in metadata.tables[self.table].primary_key)


class Shared(Protocol):
    """The methods of a journal that differ if several nodes share the database (storage.journal.node_journal)."""

    node: int
    """Number of this node."""

    async def begin(self, database: Database) -> None:
        """Turn the journal of a single machine into that of this node; further calls do nothing."""

    async def take(self, connection: AsyncConnection, items: Sequence[Item]) -> tuple[int, Sequence[Item]]:
        """Return the number of this transaction's line, and the items with their places among all nodes' items."""

    async def settle(self, database: Database) -> int:
        """Bring the database up to date with this node's journal; raises LinesMissing if another node's is needed."""

    async def watch(self, database: Database) -> None:
        """Do the work that is due every few seconds; raises DatabaseOlder if the database must be opened again."""

    async def compare(self, connection: AsyncConnection) -> None:
        """Raise DatabaseOlder if the database, as a transaction sees it, lacks lines that it had."""

    async def differences(self, database: Database) -> dict[str, int]:
        """Compare this node's journal with the rows that it wrote last; return how many differ, by table."""

    async def needed(self, connection: AsyncConnection) -> "Callable[[Item], bool]":
        """Return a function that returns whether an item of this node's journal is the newest one of its row."""


class Journal:
    """The journal of one customer; safe between processes."""

    shared: Shared | None = None
    """Set if several nodes share the database."""

    def __init__(self, folder: Path, keys: sealing.DeletableKeys, random: Callable[[int], bytes] = os.urandom) -> None:
        self._replayed = False
        self._committed = 0  # the newest line whose transaction committed in this process
        self._path = folder / FILE_NAME
        self._customer = folder.name
        self._file = LineFile(self._path, "the journal", RESERVE)
        self._keys = keys
        self._random = random

    def share(self, shared: Shared) -> None:
        """Make this the journal of one of several nodes from now on."""
        self.shared = shared

    @contextmanager
    def as_of(self, shared: Shared) -> Iterator[None]:
        """Make this the journal of one of several nodes again while the block runs."""
        self.shared = shared
        try:
            yield
        finally:
            self.shared = None

    @property
    def node(self) -> int:
        """Return the node number in `journal_mark` of the row that counts this journal's lines."""
        return 0 if self.shared is None else self.shared.node

    @property
    def exists(self) -> bool:
        """Return whether the journal has any line."""
        return next(self._file.lines(), None) is not None

    @property
    def replayed(self) -> bool:
        """Return whether the database was older than the journal; other tables may then be older too."""
        return self._replayed

    def note_replay(self, known: int, newest: int) -> None:
        """Note that a database with the lines up to `known` is being brought up to line `newest`."""
        self._replayed = newest > known + 1  # a crash leaves the database one line behind at most

    @property
    def size(self) -> int:
        """Return the bytes of the file."""
        return self._file.size

    @property
    def newest(self) -> int:
        """Return the number of the newest line, 0 if there is none."""
        head = Head.of(self._file.last(HEAD_BYTES) or b"")
        if head is not None and head.number:
            return head.number
        return max((found.number for line in self._file.lines() if (found := Head.of(line))), default=0)

    def prepare(self) -> None:
        """Reserve the disk space that the next erasure needs."""
        self._file.prepare()

    def begin(self, items: Sequence[Item], number: int = 0) -> None:
        """Replace the journal by these items, all or nothing; nobody else may write meanwhile."""
        parts = list(batches(items, BATCH))
        draft = self._path.with_name(BEGUN)
        self.draft(draft, (self._line(part, number, base=True) for part in parts) if parts else [self.bare(number)])
        self.swap(draft, number)

    def bare(self, number: int) -> bytes:
        """Return the only line of an empty journal; the next line gets the number after `number`."""
        return self._line((), number, base=True)

    async def write(self, items: Sequence[Item]) -> None:
        """Append a line durably, all or nothing, without the items whose leaf was cut.

        Call it in the transaction that the items belong to. The line becomes valid when the transaction commits; if
        the transaction fails, the line is removed. Raises DatabaseOlder if the database lacks a committed transaction,
        because the new line would replace the line of that transaction.
        """
        if not items:
            return
        connection = writer()
        if connection is None:
            await asyncio.to_thread(self._write, items, None)
            return
        if self.shared is None:
            number = await advance(connection)
        else:
            number, items = await self.shared.take(connection, items)
        if number <= self._committed:
            raise _older()
        written = asyncio.create_task(asyncio.to_thread(self._write, items, number), name="write-journal")

        async def undo() -> None:
            line = await written  # also if the task was cancelled, because the thread still writes the line
            await asyncio.to_thread(self._file.take_back, line)

        def done() -> None:
            self._committed = max(self._committed, number)

        unless_committed(undo)
        once_committed(done)
        await asyncio.shield(written)

    async def compare(self, connection: AsyncConnection) -> None:
        """Raise DatabaseOlder if the database, as a writing transaction sees it, lacks a committed line.

        Call this before anything is erased, because the line may be a hold.
        """
        if self.shared is not None:
            await self.shared.compare(connection)
            return
        newest = await mark(connection, self.node)
        if newest < self._committed:
            raise _older()
        self._committed = newest  # another process may have committed it, or this one before a restart

    async def keep(self, connection: AsyncConnection, table: sa.Table, *where: sa.ColumnElement[bool]) -> None:
        """Append rows in the state that this transaction sees."""
        await self.write(await taken(connection, table, *where))

    def read(self) -> State:
        """Read the whole journal; return the rows that are valid now, without those whose leaf was cut."""
        state: State = {table.name: {} for table in TABLES}
        for _, line in self.lines():
            for item in self.items(line):
                apply(state, item)
        return state

    def since(self, number: int) -> list[Item] | None:
        """Return the items of later lines, oldest first; None if some of those lines were compacted away."""
        found: list[Item] = []
        for head, line in self.lines():
            if head.number > number:
                if head.base:
                    return None
                found += self.items(line)
        return found

    def lines(self) -> Iterator[tuple[Head, bytes]]:
        """Yield the lines whose transactions committed, judged by later lines; raises SealBroken."""
        heads = [Head.of(line) for line in self._file.lines()]
        for line, head, counts in zip(self._file.lines(), heads, counting(heads), strict=False):
            if counts and head is None:
                raise SealBroken("a line of the journal is damaged")
            if counts and head is not None:
                yield head, line

    def items(self, line: bytes) -> Iterator[Item]:
        """Yield the items of a line, without those whose leaf was cut; raises SealBroken."""
        for _, item in self.boxes(line):
            if item is not None:
                yield item

    def boxes(self, line: bytes) -> Iterator[tuple[tuple[int, int, bytes], Item | None]]:
        """Yield number, leaf and sealed value of each item of a line, and the item, None if its leaf was cut."""
        head, boxes = boxes_of(line)
        for number, leaf, box in boxes:
            if not self._keys.keeps(leaf):
                yield (number, leaf, box), None
                continue
            told = sealing.unseal(self._keys, leaf, _KIND, head.context(number, self._customer), box)
            place = int(told.get("place") or 0)
            yield (number, leaf, box), Item(leaf, str(told["table"]), told.get("put"), told.get("drop") or {}, place)

    def leaves(self) -> Iterator[int]:
        """Yield every leaf that items are sealed under (leaves are in the clear); skip damaged lines."""
        for line in self._file.lines():
            with suppress(SealBroken):
                yield from (leaf for _, leaf, _ in boxes_of(line)[1] if leaf != LAST_LEAF)

    def counts(self, item: Item) -> bool:
        """Return whether the leaf of an item has not been cut."""
        return self._keys.keeps(item.leaf)

    @property
    def compacted(self) -> Path:
        """Return the path of the draft of a compaction."""
        return self._path.with_name(COMPACTED)

    def place(self) -> tuple[int, int] | None:
        """Return an identifier of this file, which shows whether another has replaced it; None if there is no file."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def draft(self, draft: Path, lines: Iterable[bytes]) -> None:
        """Write lines to a draft beside the journal, durably; `swap` puts it in place."""
        disk, at = Disk(), 0
        disk.remove(draft)
        with disk_errors("write the journal"), opened(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            for line in lines:
                disk.write(fd, line, at)
                at += len(line)
            disk.sync(fd)

    def swap(self, draft: Path, number: int) -> None:
        """Replace the journal by a draft with the lines after `number` added; nobody else may write meanwhile."""
        disk, file = Disk(), LineFile(draft, "the journal", RESERVE)
        for line in self._file.lines():
            head = Head.of(line)
            if head is not None and head.number > number:
                file.append(line)
        with disk_errors("write the journal"):
            disk.rename(draft, self._path)
        disk.sync_folder(self._path.parent)
        self._file = LineFile(self._path, "the journal", RESERVE)

    def _write(self, items: Sequence[Item], number: int | None) -> bytes:
        line = self._line(items, self.newest + 1 if number is None else number)
        self._file.append(line)
        return line

    def _line(self, items: Sequence[Item], number: int, *, base: bool = False) -> bytes:
        head = Head.new(self._random(8).hex(), number, base=base)
        sealed = []
        for place, item in enumerate(items):
            what = {"put": item.put} if item.put is not None else {"drop": item.drop}
            told = {"table": item.table, **what, **({"place": item.place} if item.place else {})}
            try:
                bound = head.context(place, self._customer)
                sealed.append((place, item.leaf, sealing.seal(self._keys, item.leaf, _KIND, bound, told)))
            except Forgotten:
                continue
        return packed(head, sealed)


@dataclass(frozen=True, slots=True)
class JournaledDatabase:
    """A database with its journal, as the stores of journaled rows use them."""

    database: Database
    """The database with the rows."""
    keys: sealing.DeletableKeys
    """The keys that seal the rows."""
    journal: Journal
    """The journal that holds the second copy."""
    now: Callable[[], datetime]
    """The wall clock."""
    cutter: Cutter
    """Cuts the leaves of deleted rows."""
    random: Callable[[int], bytes] = os.urandom
    """Source of random bytes, for ids."""


class JournaledRows:
    """Rows of one kind that are journaled because they exist nowhere but in the database."""

    def __init__(self, store: JournaledDatabase) -> None:
        self._database = store.database
        self._keys = store.keys
        self._journal = store.journal
        self._now = store.now
        self._cutter = store.cutter
        self._random = store.random


async def taken(
    connection: AsyncConnection, table: sa.Table, *where: sa.ColumnElement[bool], leaf: int | None = None
) -> list[Item]:
    """Return rows in the state that this transaction sees, each under its own leaf, or all under `leaf`."""
    found = []
    for record in await connection.execute(sa.select(table).where(*where)):
        row = dict(record._mapping)
        under = leaf if leaf is not None else row.get("leaf")
        put = {name: plain(value) for name, value in row.items()}
        found.append(Item(LAST_LEAF if under is None else int(under), table.name, put, {}))
    return found


async def request(connection: AsyncConnection, id: str) -> list[Item]:
    """Return the items of an erasure request and its calls, all under the request's own leaf."""
    head = await taken(connection, erasures, erasures.c.id == id)
    under = head[0].leaf if head else LAST_LEAF
    return [*head, *await taken(connection, erasure_calls, erasure_calls.c.erasure == id, leaf=under)]


def dropped(table: sa.Table, leaf: int = LAST_LEAF, **values: Any) -> Item:
    """Return the item that deletes rows with these values, or all rows of the table."""
    return Item(leaf, table.name, None, values)


async def mark(connection: AsyncConnection, node: int = 0) -> int:
    """Return the number of the newest line of a node's journal that the database has, 0 if it has none."""
    return int(await connection.scalar(sa.select(journal_mark.c.line).where(journal_mark.c.node == node)) or 0)


async def set_mark(connection: AsyncConnection, number: int) -> None:
    """Store that the database has all lines up to this one."""
    await connection.execute(journal_mark.delete().where(journal_mark.c.node == 0))
    await connection.execute(journal_mark.insert(), {"node": 0, "line": number})


async def advance(connection: AsyncConnection, by: int = 1) -> int:
    """Return the number of this transaction's line; others that need a number wait until this transaction ends."""
    change = journal_mark.update().where(journal_mark.c.node == 0).values(line=journal_mark.c.line + by)
    number = await connection.scalar(change.returning(journal_mark.c.line))
    if number is None:
        await set_mark(connection, by)
    return by if number is None else int(number)


def _older() -> DatabaseOlder:
    return DatabaseOlder("the database is older than its journal", "systemctl reload recorder brings it up to date")


async def committed(connection: AsyncConnection, journal: Journal) -> int:
    """Return the number of the newest line, in a writing transaction, after all others with a line have ended."""
    return await advance(connection, 0) if journal.shared is None else await mark(connection, journal.node)


async def counted(database: Database) -> bool:
    """Return whether the database counts the lines of several nodes' journals, or was last used in that way."""
    async with database.reading() as connection:
        return bool(await connection.scalar(sa.select(sa.exists().where(journal_mark.c.node != 0))))


def apply(state: State, item: Item) -> None:
    """Apply an item to the rows of a state."""
    table = state.get(item.table)
    if table is None:
        return  # written by a later version
    if item.put is not None:
        table[item.key] = dict(item.put)
        return
    wanted = item.drop.items()
    for key in [key for key, row in table.items() if all(row.get(name) == value for name, value in wanted)]:
        del table[key]


def plain(value: Any) -> Any:
    """Convert a value of a row to one that JSON can hold."""
    return {_BYTES: base64.b64encode(value).decode()} if isinstance(value, bytes | memoryview) else value


def value_of(value: Any) -> Any:
    """Convert a value back from what `plain` returned."""
    return base64.b64decode(value[_BYTES]) if isinstance(value, dict) else value
