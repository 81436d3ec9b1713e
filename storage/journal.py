"""The journal: what exists nowhere but in the database, written beside it, so that a lost database loses none of it.

Holds, corrections, attachments, retention rules, waivers, requests and receipts, column sets, directory users: each
transaction that changes one of them appends a line to `customers/NAME/papers.journal` before it commits
(docs/formats/journal.md). A database that comes up without any of them gets them back from there.

    items = await journal.taken(connection, table, where)        rows as they are now in this transaction
    await journal.write([*dropped, *items])                      raises NoSpace, DiskFailed: then nothing is committed
    await settle(journal, database)                              when the database is opened, before it is served

A row is sealed under the leaf that its own secrets are sealed under, so forgetting a call forgets its lines too.
"""

import asyncio
import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import papers
from storage.database import Database, alone
from storage.durable import Disk, disk_errors
from storage.errors import Forgotten, SealBroken
from storage.keytree import LAST_LEAF
from storage.lines import LineFile
from storage.tables import (
    annotations,
    attachments,
    calls,
    column_sets,
    erasure_calls,
    erasures,
    holds,
    metadata,
    requests,
    retention,
    retention_rules,
    users,
    waivers,
)

FILE_NAME = "papers.journal"
RESERVE = 128 << 10  # bytes owned beyond the end: an erasure must be filed and signed for on a full disk
MAX_LAST = 4 << 20  # bytes of the newest line that are looked at when a database is opened: 500 users have under one
BATCH = 500  # rows of a line when a whole database is written down
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
    column_sets,
    requests,
)
_KIND = "journal"
_BYTES = "base64"

State = dict[str, dict[tuple[Any, ...], dict[str, Any]]]
"""Table → primary key → row."""


@dataclass(frozen=True, slots=True)
class Item:
    """One row that was written, or rows that were taken away."""

    leaf: int
    """What it is sealed under; LAST_LEAF for what is to be known for ever."""
    table: str
    """Name of the table."""
    put: Mapping[str, Any] | None
    """The row, None if this takes rows away."""
    drop: Mapping[str, Any]
    """Values of the rows that go, {} for all rows of the table."""

    @property
    def key(self) -> tuple[Any, ...]:
        """Primary key of the row."""
        row = self.put or {}
        return tuple(row[column.name] for column in metadata.tables[self.table].primary_key)


class Journal:
    """The journal of one customer; safe between processes."""

    def __init__(self, folder: Path, keys: papers.Keeper, random: Callable[[int], bytes] = os.urandom) -> None:
        self._path = folder / FILE_NAME
        self._file = LineFile(self._path, "the journal", RESERVE)
        self._keys = keys
        self._random = random

    @property
    def exists(self) -> bool:
        """Say whether anything was ever written down."""
        return next(self._file.lines(), None) is not None

    def prepare(self) -> None:
        """Own the space that the next erasure needs."""
        self._file.prepare()

    def begin(self, items: Sequence[Item]) -> None:
        """Write the first lines: all of them count, or there is no journal yet. Nobody else may write meanwhile."""
        draft = self._path.with_name(f".{FILE_NAME}.part")
        disk = Disk()
        disk.remove(draft)
        file = LineFile(draft, "the journal", RESERVE)
        for start in range(0, len(items), BATCH):
            file.append(self._line(items[start : start + BATCH]))
        with disk_errors("write the journal"):
            disk.rename(draft, self._path)
        disk.sync_folder(self._path.parent)

    async def write(self, items: Sequence[Item]) -> None:
        """Append a line durably; all of it counts, or nothing. Items whose leaf is forgotten are left out."""
        if items:
            await asyncio.to_thread(self._write, items)

    async def keep(self, connection: AsyncConnection, table: sa.Table, *where: sa.ColumnElement[bool]) -> None:
        """Write down rows as they are now in this transaction."""
        await self.write(await taken(connection, table, *where))

    def read(self) -> State:
        """Follow the journal from its beginning: the rows that count now, without those whose leaf is forgotten."""
        state: State = {table.name: {} for table in TABLES}
        for line in self._file.lines():
            for item in self._items(line):
                _apply(state, item)
        return state

    def last(self) -> list[Item]:
        """Read the newest line, without items whose leaf is forgotten.

        [] if it is damaged, longer than MAX_LAST, or about an erasure.
        """
        line = self._file.last(MAX_LAST)
        found: list[Item] = []
        with suppress(SealBroken):
            for item in self._items(line) if line else ():
                if item.table == erasures.name:  # the head of a request comes first, and thousands of calls after it
                    return []
                found.append(item)
            return found
        return []

    def leaves(self) -> Iterator[int]:
        """Give all leaves that were ever sealed under, which stand in the clear; damaged lines are passed over."""
        for line in self._file.lines():
            with suppress(SealBroken):
                yield from (leaf for _, leaf, _ in _boxes(line)[1] if leaf != LAST_LEAF)

    def counts(self, item: Item) -> bool:
        """Say whether an item was not forgotten."""
        return self._keys.keeps(item.leaf)

    def _write(self, items: Sequence[Item]) -> None:
        self._file.append(self._line(items))

    def _line(self, items: Sequence[Item]) -> bytes:
        id = self._random(8).hex()
        sealed = []
        for number, item in enumerate(items):
            told = {"table": item.table, **({"put": item.put} if item.put is not None else {"drop": item.drop})}
            try:
                box = papers.seal(self._keys, item.leaf, _KIND, f"{id}.{number}", told)
            except Forgotten:
                continue
            sealed.append([number, f"{item.leaf:012x}", base64.b64encode(box).decode()])
        return json.dumps({"id": id, "items": sealed}, separators=(",", ":")).encode() + b"\n"

    def _items(self, line: bytes) -> Iterator[Item]:
        id, boxes = _boxes(line)
        for number, leaf, box in boxes:
            if not self._keys.keeps(leaf):
                continue
            told = papers.unseal(self._keys, leaf, _KIND, f"{id}.{number}", box)
            yield Item(leaf, str(told["table"]), told.get("put"), told.get("drop") or {})


@dataclass(frozen=True, slots=True)
class Cabinet:
    """What papers of every kind are kept with."""

    database: Database
    """Their rows."""
    keys: papers.Keeper
    """What seals them."""
    journal: Journal
    """What has them a second time."""
    now: Callable[[], datetime]
    """The wall clock."""
    random: Callable[[int], bytes] = os.urandom
    """Random bytes, for ids."""


class Drawer:
    """Papers of one kind."""

    def __init__(self, cabinet: Cabinet) -> None:
        self._cabinet = cabinet
        self._database = cabinet.database
        self._keys = cabinet.keys
        self._journal = cabinet.journal
        self._now = cabinet.now
        self._random = cabinet.random


async def taken(
    connection: AsyncConnection, table: sa.Table, *where: sa.ColumnElement[bool], leaf: int | None = None
) -> list[Item]:
    """Take rows as they are now in this transaction, each under its own leaf, or all under the one given."""
    found = []
    for record in await connection.execute(sa.select(table).where(*where)):
        row = dict(record._mapping)
        under = leaf if leaf is not None else row.get("leaf")
        put = {name: _plain(value) for name, value in row.items()}
        found.append(Item(LAST_LEAF if under is None else int(under), table.name, put, {}))
    return found


async def request(connection: AsyncConnection, id: str) -> list[Item]:
    """Take a request for erasure with its calls, all of it under the request's own leaf."""
    head = await taken(connection, erasures, erasures.c.id == id)
    under = head[0].leaf if head else LAST_LEAF
    return [*head, *await taken(connection, erasure_calls, erasure_calls.c.erasure == id, leaf=under)]


def dropped(table: sa.Table, leaf: int = LAST_LEAF, **values: Any) -> Item:
    """Say that rows with these values are gone, or all rows of the table."""
    return Item(leaf, table.name, None, values)


async def settle(journal: Journal, database: Database) -> int:
    """Give a database that lost everything its papers back, or begin the journal; returns the rows given back.

    A line that a crash kept from being committed is carried out.
    """

    async def due(connection: AsyncConnection) -> tuple[bool, bool, State]:
        blank = not [table for table in TABLES if (await connection.execute(sa.select(table).limit(1))).first()]
        begun = await asyncio.to_thread(lambda: journal.exists)
        behind = await _behind(connection, await asyncio.to_thread(journal.last)) if begun and not blank else {}
        return blank and begun, not blank and not begun, behind

    async with database.reading() as connection:
        if not any(await due(connection)):
            return 0
    async with database.writing() as connection:
        await alone(connection)
        lost, new, behind = await due(connection)
        with suppress(IntegrityError):  # another process commits it just now, or the database is far older
            async with connection.begin_nested():
                await _carry_out(connection, behind)
        if new:
            await asyncio.to_thread(journal.begin, await _everything(connection))
        return await _give_back(connection, await asyncio.to_thread(journal.read)) if lost else 0


async def differences(journal: Journal, database: Database) -> dict[str, int]:
    """Compare journal and database: table → rows that only one of both has, or has otherwise; {} if all is well.

    Requests under way are left out: retention's are in the database alone until they are done.
    """
    found: dict[str, int] = {}
    told = await asyncio.to_thread(journal.read)
    async with database.reading() as connection:
        for table in TABLES:
            if table in (erasures, erasure_calls):
                continue
            rows = {item.key: item.put for item in await taken(connection, table) if journal.counts(item)}
            odd = sum(told[table.name].get(key) != rows.get(key) for key in {*rows, *told[table.name]})
            if odd:
                found[table.name] = odd
    return found


async def _everything(connection: AsyncConnection) -> list[Item]:
    """Take all rows, as a database has them that is older than its journal."""
    items: list[Item] = []
    for table in TABLES:
        if table is not erasure_calls:
            items += await taken(connection, table)
    for id in await connection.scalars(sa.select(erasures.c.id).where(erasures.c.leaf.is_not(None))):
        items += await request(connection, id)
    return items


async def _behind(connection: AsyncConnection, items: Sequence[Item]) -> State:
    """Compare the newest line with the database: the rows it is about, as they should be; {} if they are.

    It is about no erasure: their rows go on without the journal, and what was not filed is asked for again.
    """
    before: State = {}
    for name in {item.table for item in items} & {table.name for table in TABLES}:
        table, mine = metadata.tables[name], [item for item in items if item.table == name]
        (key,) = table.primary_key
        same: list[sa.ColumnElement[bool]] = [key.in_([item.key[0] for item in mine if item.put is not None])]
        same += [sa.and_(sa.true(), *(table.c[n] == v for n, v in i.drop.items())) for i in mine if i.put is None]
        found = await taken(connection, table, sa.or_(*same))
        before[name] = {item.key: dict(item.put or {}) for item in found}
    after = {name: dict(found) for name, found in before.items()}
    for item in items:
        _apply(after, item)
    for name in after:
        gone: dict[tuple[Any, ...], dict[str, Any]] = {key: {} for key in before[name] if key not in after[name]}
        after[name] = {**gone, **{key: row for key, row in after[name].items() if before[name].get(key) != row}}
    return after if any(after.values()) else {}


async def _carry_out(connection: AsyncConnection, behind: State) -> None:
    """Make rows what they should be, {} for those that should not be."""
    for name, found in behind.items():
        (key,) = metadata.tables[name].primary_key
        await connection.execute(metadata.tables[name].delete().where(key.in_([id for (id,) in found])))
        if name == holds.name:
            for (call,), row in found.items():
                await connection.execute(calls.update().where(calls.c.id == call).values(hold=bool(row)))
    await _give_back(connection, {name: {k: row for k, row in found.items() if row} for name, found in behind.items()})


async def _give_back(connection: AsyncConnection, state: State) -> int:
    count = 0
    for name, found in state.items():
        values = [{column: _value(value) for column, value in row.items()} for row in found.values()]
        for start in range(0, len(values), BATCH):
            await connection.execute(metadata.tables[name].insert(), values[start : start + BATCH])
        count += len(values)
    return count


def _boxes(line: bytes) -> tuple[str, list[tuple[int, int, bytes]]]:
    """Read a line: its id, and number, leaf and sealed value of each item."""
    try:
        found = json.loads(line)
        boxes = [(int(n), int(leaf, 16), base64.b64decode(box)) for n, leaf, box in found["items"]]
        return str(found["id"]), boxes
    except (ValueError, KeyError, TypeError):
        raise SealBroken("a line of the journal is damaged") from None


def _apply(state: State, item: Item) -> None:
    table = state.get(item.table)
    if table is None:
        return  # of a later version
    if item.put is not None:
        table[item.key] = dict(item.put)
        return
    wanted = item.drop.items()
    for key in [key for key, row in table.items() if all(row.get(name) == value for name, value in wanted)]:
        del table[key]


def _plain(value: Any) -> Any:
    return {_BYTES: base64.b64encode(value).decode()} if isinstance(value, bytes | memoryview) else value


def _value(value: Any) -> Any:
    return base64.b64decode(value[_BYTES]) if isinstance(value, dict) else value
