"""The journals of several nodes that share a database, one for each node.

    journal.shared = NodeJournal(journal, folder, node, label)
    await journal.shared.settle(database)     gives this node's lines back; raises LinesMissing if others are missing
    await journal.shared.watch(database)      every few seconds; raises DatabaseOlder if the database lost lines
    await accept(database, node)              accepts that the lines on a node's lost disk are gone
    await alone_again(…)                      turns the journal of the last node into that of a single machine

Each node's journal is on its own disk and contains the rows written through that node. Nodes do not communicate with
each other, so each node gives back its own lines when it opens a database that lacks them. The order in which the nodes
do so does not matter, because storage.journal.merge decides which item of a row is valid. A row of `journal_mark`
counts the lines of each node that the database has, and `journal_rows` names the node whose journal has the newest item
of each row.

*How a missing line is noticed.* Before a transaction that writes a line commits, it stores the counts of all other
nodes in `customers/NAME/papers.nodes` on its node's disk; each node also does so every few seconds. A node that opens a
database writes the counts of that file into it (column `known`). If the database lacks a line that any node knows of,
no node serves the database until the writer of the line has given it back, because the line may be a legal hold. The
error names the node and the lines. A line that was lost before another node knew of it comes back when its writer opens
the database.

*A node that never comes back.* When a node is retired, another node copies every row whose newest item is in the
retired node's journal into its own journal, at the same places; after that the old journal is no longer needed (column
`spare`). If the database lost lines of a node whose disk is lost too, these lines are gone, and the rows stay as they
are in the database. `recorder journal accept` accepts this loss, and so does the retirement of the node.

`papers.nodes` also names the node whose journal is beside it. Without this file the journal is that of a single machine
(number 0); when that machine becomes a node, it rewrites the journal, with a place for every row.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.batches import BATCH, batches
from storage.database.database import Database, DatabaseOlder
from storage.database.database_clock import NOW
from storage.database.schema import erasure_calls, erasures, journal_mark, journal_rows, metadata, nodes
from storage.errors import LinesMissing, OtherNode
from storage.files.durable_files import Disk
from storage.journal.journal import TABLES, Item, Journal, set_mark, taken, value_of
from storage.journal.merge import NODES, UNIQUE, Key, Merge, condition_of, key_of
from storage.journal.replay import (
    among,
    behind,
    carry_out,
    changed_rows,
    everything,
    forget_dead,
    settle_alone,
    touched,
)
from storage.json_bytes import ascii_json
from storage.keys.key_tree import LAST_LEAF
from storage.nodes.rows import NodeState

FILE_NAME = "papers.nodes"
_KEPT_FOREVER = (erasures.name, erasure_calls.name)  # retention's erasures are only in the database until done

Places = dict[Key, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """Line numbers of one node's journal."""

    label: str
    """Name of the node."""
    known: int
    """Number of the newest line that any node knows of."""
    spare: int = 0
    """Lines up to this number are no longer needed."""
    line: int = 0
    """Number of the newest line that the database has."""

    @property
    def lacks(self) -> bool:
        """Return whether the database lacks a line that is still needed."""
        return max(self.line, self.spare) < self.known


@dataclass(frozen=True, slots=True)
class Heard:
    """The file `papers.nodes`: what one node knows of the journals of all nodes."""

    node: int | None = None
    """Number of the node whose journal is beside the file; None for the journal of a single machine."""
    was: tuple[int, ...] = ()
    """Earlier numbers of the node."""
    marks: Mapping[int, Mark] = field(default_factory=dict)
    """The last known mark of each other node; `line` is not stored."""

    @classmethod
    def read(cls, path: Path) -> "Heard":
        """Read the file; treat a damaged file as missing, because it only records what the database may lack."""
        data = Disk().read(path)
        if data is None:
            return cls()
        try:
            members = json.loads(data)
            marks = {
                int(node): Mark(str(m["label"]), int(m["known"]), int(m["spare"]))
                for node, m in members["nodes"].items()
            }
            return cls(int(members["node"]), tuple(map(int, members["was"])), marks)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls()

    def __bytes__(self) -> bytes:
        found = {n: {"label": m.label, "known": m.known, "spare": m.spare} for n, m in sorted(self.marks.items())}
        return ascii_json({"node": self.node, "was": list(self.was), "nodes": found}) + b"\n"


class NodeJournal:
    """The part of a journal that a node needs only if it shares its database with others."""

    def __init__(self, journal: Journal, folder: Path, node: int, label: str) -> None:
        self.node = node
        self._journal = journal
        self._path = folder / FILE_NAME
        self._label = label

    async def take(self, connection: AsyncConnection, items: Sequence[Item]) -> tuple[int, Sequence[Item]]:
        """Return the number of this transaction's line, and the items with their places among all nodes' items.

        An item that already has a place keeps it. Raises DatabaseOlder, DiskFailed, NoSpace.
        """
        number, place = await self._next(connection)
        await self._hear(await _marks(connection))
        placed = [replace(item, place=item.place or place) for item in items]
        for item in placed:
            if item.put is None and not item.drop:  # it removes all rows of its table
                rows = sa.and_(journal_rows.c.name == item.table, journal_rows.c.place < item.place)
                await connection.execute(journal_rows.delete().where(rows, journal_rows.c.key.not_like("{%")))
        await self._claim(connection, {key_of(item): item.place for item in placed})
        return number, placed

    async def settle(self, database: Database) -> int:
        """Give back to the database the lines of this node that it lacks; return how many rows have changed.

        Also write into it which lines of other nodes this node knows of; raise LinesMissing if it lacks any of them.
        """
        await self.begin(database)
        async with database.reading() as connection:
            marks, retired = await _marks(connection), await _retired(connection)
        changed = 0
        if not await asyncio.to_thread(self._settled, marks):
            async with database.writing() as connection:
                changed = await self._settle(connection)
                marks, retired = await _marks(connection), await _retired(connection)
        _refuse({node: mark for node, mark in marks.items() if node not in retired})
        return changed

    async def watch(self, database: Database) -> None:
        """Note how many lines the other nodes have written, and adopt the rows of retired nodes.

        Raises DatabaseOlder if the database lacks lines that it had; the caller must then open it again.
        """
        async with database.reading() as connection:
            marks, retired = await self._compared(connection)
        if await behind(self._journal, database):
            raise _older()
        await self._hear(marks)
        for node in sorted(retired & marks.keys() - {self.node}):
            if marks[node].spare < _known(marks[node]):
                await self._adopt(database, node)

    async def compare(self, connection: AsyncConnection) -> None:
        """Raise DatabaseOlder if the database lacks lines that it had and that this node knows of."""
        await self._compared(connection)

    async def _compared(self, connection: AsyncConnection) -> tuple[dict[int, Mark], set[int]]:
        """Return the marks of all nodes, and the retired nodes; raises DatabaseOlder if lines are missing."""
        marks, retired = await _marks(connection), await _retired(connection)
        heard = await asyncio.to_thread(self._read)
        lost = any(mark.known > _known(marks.get(node)) for node, mark in heard.marks.items())
        if lost or any(mark.lacks for node, mark in marks.items() if node not in retired):
            raise _older()
        return marks, retired

    async def differences(self, database: Database) -> dict[str, int]:
        """Compare this node's journal with the rows that it wrote last; return how many differ, by table.

        A row that is in no node's journal counts as different.
        """
        newest = await asyncio.to_thread(self._newest_items)
        found: dict[str, int] = {}
        async with database.reading() as connection:
            for table in TABLES:
                if table.name in _KEPT_FOREVER:
                    continue
                asked = sa.select(journal_rows.c.key, journal_rows.c.place, journal_rows.c.node)
                known = {
                    key: (place, node)
                    for key, place, node in await connection.execute(asked.where(journal_rows.c.name == table.name))
                }
                rows = {key_of(item)[1]: item for item in await taken(connection, table)}
                odd = sum(key not in known for key, item in rows.items() if self._journal.counts(item))
                for key, (place, node) in known.items():
                    row = rows.get(key)
                    if node == self.node and condition_of((table.name, key)) is None:
                        odd += not self._same(newest.get((table.name, key)), row, place)
                if odd:
                    found[table.name] = odd
        return found

    async def needed(self, connection: AsyncConnection) -> Callable[[Item], bool]:
        """Return a function that returns whether an item of this node's journal is the newest one of its row."""
        columns = journal_rows.c.name, journal_rows.c.key, journal_rows.c.place
        found = await connection.execute(sa.select(*columns).where(journal_rows.c.node == self.node))
        places = {(name, key): place for name, key, place in found}
        return lambda item: places.get(key_of(item)) == item.place

    async def begin(self, database: Database) -> None:
        """Turn the journal of a single machine into this node's: give every row a place, and drop all older items."""
        heard = await asyncio.to_thread(self._read)
        if heard.node is not None or not await asyncio.to_thread(lambda: self._journal.exists):
            return
        async with database.reading() as connection:
            marks = await _marks(connection)
        if marks and 0 not in marks:
            return
        await settle_alone(self._journal, database)
        async with database.writing() as connection:
            marks = await _marks(connection)
            if 0 not in marks:
                return
            place = int(await connection.scalar(sa.select(NOW)) or 0) * NODES + self.node
            before = [Item(LAST_LEAF, t.name, None, {}, place) for t in TABLES if t.name not in _KEPT_FOREVER]
            items = [*before, *(replace(item, place=place) for item in await everything(connection))]
            number = marks[0].line
            mine = {"node": self.node, "line": number, "label": self._label, "known": number, "place": place}
            await asyncio.to_thread(self._journal.begin, items, number)
            await self._write(Heard(self.node, (0,)))
            await connection.execute(journal_rows.delete())
            await self._claim(connection, {key_of(item): place for item in items})
            await connection.execute(journal_mark.delete())
            await connection.execute(journal_mark.insert(), mine)

    async def _settle(self, connection: AsyncConnection) -> int:
        """Bring database and journal to the same state in a transaction; return how many rows have changed."""
        heard, marks = await asyncio.to_thread(self._read), await _marks(connection)
        exists, newest = await asyncio.to_thread(lambda: (self._journal.exists, self._journal.newest))
        changed = place = 0
        if self.node not in marks:
            await self._take_row(connection, heard, marks)
        mine = marks.get(self.node, Mark(self._label, 0))
        line = mine.line
        if newest > mine.line:
            items = await asyncio.to_thread(self._items_after, mine.line)
            self._journal.note_replay(mine.line, newest)
            with suppress(IntegrityError):  # a forged line that violates a constraint must not prevent the start
                async with connection.begin_nested():
                    await forget_dead(connection, self._journal)
                    changed = await self._merge(connection, items)
                    place, line = max((item.place for item in items), default=0), newest
        else:
            accepted = mine.known if mine.known <= mine.spare else 0
            line = max(mine.line, accepted)
            if not exists or newest < line:
                await asyncio.to_thread(self._journal.begin, await self._held(connection, self.node), line)
        at = journal_mark.c
        own = {
            "line": line,
            "label": self._label or at.label,
            "known": sa.func.greatest(at.known, line),
            "place": sa.func.greatest(at.place, place),
        }
        await connection.execute(journal_mark.update().where(at.node == self.node).values(own))
        for node, mark in heard.marks.items():
            if node != self.node:
                await _tell(connection, node, mark)
        await self._hear(await _marks(connection))
        return changed

    async def _take_row(self, connection: AsyncConnection, heard: Heard, marks: Mapping[int, Mark]) -> None:
        """Insert this node's row into `journal_mark`, replacing the row of an earlier number of this node."""
        former = [node for node in (*heard.was, heard.node) if node is not None and node in marks]
        known = max((marks[node].known for node in former), default=0)
        row = {"node": self.node, "line": 0, "label": self._label, "known": known}
        await connection.execute(journal_mark.insert(), row)
        if former:
            await connection.execute(journal_mark.delete().where(journal_mark.c.node.in_(former)))
            mine = journal_rows.update().where(journal_rows.c.node.in_(former))
            await connection.execute(mine.values(node=self.node))

    async def _merge(self, connection: AsyncConnection, items: Sequence[Item]) -> int:
        """Carry out items unless the database has newer ones; return how many rows have changed."""
        before = await touched(connection, items)
        for name in UNIQUE.keys() & before.keys():
            before[name] |= await _alike(connection, name, items)
        known = await _places(connection, before)
        merge = Merge({name: dict(rows) for name, rows in before.items()}, dict(known))
        merge.give(items)
        changes = changed_rows(before, merge.rows)
        await carry_out(connection, changes)
        for name in before:
            gone = [key for table, key in known.keys() - merge.places.keys() if table == name]
            for part in batches(gone):
                mine = sa.and_(journal_rows.c.name == name, journal_rows.c.key.in_(part))
                await connection.execute(journal_rows.delete().where(mine))
        await self._claim(connection, {key: merge.places[key] for key in merge.taken if key in merge.places})
        return sum(map(len, changes.values()))

    async def _claim(self, connection: AsyncConnection, places: Places) -> None:
        """Note in `journal_rows` that this node's journal has the newest items of these rows."""
        rows = [{"name": n, "key": k, "place": place, "node": self.node} for (n, k), place in places.items()]
        put = postgresql_insert(journal_rows)
        new = {"place": put.excluded.place, "node": put.excluded.node}
        for part in batches(rows):
            await connection.execute(put.on_conflict_do_update(index_elements=["name", "key"], set_=new), part)

    async def _held(self, connection: AsyncConnection, node: int) -> list[Item]:
        """Return, in the order of their places, the items of the rows whose newest item is in a node's journal."""
        columns = journal_rows.c.name, journal_rows.c.key, journal_rows.c.place
        places: dict[str, dict[str, int]] = {}
        for name, key, place in await connection.execute(sa.select(*columns).where(journal_rows.c.node == node)):
            places.setdefault(name, {})[key] = place
        items: list[Item] = []
        for table in TABLES:
            mine = places.get(table.name, {})
            keys = [tuple(json.loads(key)) for key in mine if condition_of((table.name, key)) is None]
            rows: dict[str, Item] = {}
            for part in batches(keys):
                found = await taken(connection, table, among(table, part))
                rows |= {key_of(item)[1]: item for item in await _under_requests(connection, table, found)}
            for key, place in mine.items():
                row = rows.get(key)
                items.append(_removal(table, key, place) if row is None else replace(row, place=place))
        return sorted(items, key=lambda item: (item.place, item.put is not None))

    async def _adopt(self, database: Database, node: int) -> None:
        """Copy the rows of a retired node into this node's journal, so that the old journal is no longer needed."""
        async with database.writing() as connection:
            for part in batches(await self._held(connection, node), BATCH):
                await self._journal.write(part)
            spare = sa.func.greatest(journal_mark.c.known, journal_mark.c.line)
            await connection.execute(journal_mark.update().where(journal_mark.c.node == node).values(spare=spare))

    async def _next(self, connection: AsyncConnection) -> tuple[int, int]:
        """Return the number and the place of this transaction's line."""
        every = journal_mark.alias()
        before = sa.select(sa.func.max(every.c.place) // NODES + 1).scalar_subquery()
        line = journal_mark.c.line + 1
        new = {
            "line": line,
            "known": sa.func.greatest(journal_mark.c.known, line),
            "place": sa.func.greatest(NOW, before) * NODES + self.node,
        }
        change = journal_mark.update().where(journal_mark.c.node == self.node).values(new)
        found = (await connection.execute(change.returning(journal_mark.c.line, journal_mark.c.place))).one_or_none()
        if found is None:
            raise DatabaseOlder("the database has no entry for this node's journal", "it is opened again")
        return int(found[0]), int(found[1])

    def _settled(self, marks: Mapping[int, Mark]) -> bool:
        """Return whether the database has this node's lines and the same marks, so that nothing needs to be done."""
        mine = marks.get(self.node)
        if mine is None or not self._journal.exists or mine.line != self._journal.newest:
            return False
        heard = self._read()
        return heard.node == self.node and heard.marks == self._others(marks) and self._label in ("", mine.label)

    def _items_after(self, number: int) -> list[Item]:
        """Return the items of the lines after `number`, or of all lines if a compaction removed some of those lines."""
        later = self._journal.since(number)
        if later is not None:
            return later
        return [item for _, line in self._journal.lines() for item in self._journal.items(line)]

    def _newest_items(self) -> dict[Key, Item]:
        """Return the newest item of each row in this node's journal."""
        found: dict[Key, Item] = {}
        for _, line in self._journal.lines():
            for item in self._journal.items(line):
                key = key_of(item)
                if key not in found or found[key].place <= item.place:
                    found[key] = item
        return found

    def _same(self, item: Item | None, row: Item | None, place: int) -> bool:
        """Return whether journal and database agree about a row; a row whose key was cut is ignored."""
        if row is not None and not self._journal.counts(row):
            return True
        if item is None or item.place != place:
            return row is None
        return item.put == (None if row is None else row.put)

    async def _hear(self, marks: Mapping[int, Mark]) -> None:
        """Store on this node's disk the marks that the database has, if they have changed."""
        heard = await asyncio.to_thread(self._read)
        was = heard.was if heard.node in (None, self.node) else (*heard.was, heard.node)
        found = Heard(self.node, was, {**heard.marks, **self._others(marks)})
        if found != heard:
            await self._write(found)

    async def _write(self, heard: Heard) -> None:
        await asyncio.to_thread(Disk().replace, self._path, bytes(heard))

    def _others(self, marks: Mapping[int, Mark]) -> dict[int, Mark]:
        """Return the marks of the other nodes as `papers.nodes` stores them."""
        return {n: Mark(m.label, _known(m), m.spare) for n, m in marks.items() if n != self.node}

    def _read(self) -> Heard:
        """Read the file again, because other processes of this node write it too."""
        return Heard.read(self._path)


async def lacking(database: Database, node: int) -> tuple[int, int] | None:
    """Return the first and the last line of a node's journal that the database lacks, None if it lacks none."""
    async with database.reading() as connection:
        mark = (await _marks(connection)).get(node)
        return None if mark is None or not mark.lacks else (max(mark.line, mark.spare) + 1, mark.known)


async def accept(database: Database, node: int) -> None:
    """Accept the loss of the lines of a node's journal that the database lacks; the database need not be served."""
    async with database.writing() as connection:
        change = journal_mark.update().where(journal_mark.c.node == node)
        await connection.execute(change.values(spare=sa.func.greatest(journal_mark.c.spare, journal_mark.c.known)))


async def alone_again(journal: Journal, folder: Path, database: Database) -> None:
    """Turn the journal of the last node into that of a single machine.

    Raises LinesMissing, and OtherNode if another node is not retired.
    """
    path = folder / FILE_NAME
    heard = await asyncio.to_thread(Heard.read, path)
    async with database.reading() as connection:
        others = sa.and_(nodes.c.node.not_in([0, heard.node or 0]), nodes.c.state != NodeState.RETIRED)
        other = (await connection.execute(sa.select(nodes.c.label, nodes.c.node).where(others).limit(1))).one_or_none()
    if other is not None:
        raise OtherNode(
            f"the database of customer {folder.name} is shared with node {other.label}, number {other.node}",
            "set [node] number to that of this node, or retire the others: recorder node retire",
            other.label,
        )
    if heard.node is not None:
        before = NodeJournal(journal, folder, heard.node, "")
        with journal.as_of(before):
            await before.settle(database)
    async with database.writing() as connection:
        marks, retired = await _marks(connection), await _retired(connection)
        _refuse({node: mark for node, mark in marks.items() if node not in retired})
        number = max(await asyncio.to_thread(lambda: journal.newest), *(mark.line for mark in marks.values()))
        await asyncio.to_thread(journal.begin, await everything(connection), number)
        await connection.execute(journal_rows.delete())
        await connection.execute(journal_mark.delete())
        await set_mark(connection, number)
        await asyncio.to_thread(Disk().remove, path)


def _refuse(marks: Mapping[int, Mark]) -> None:
    """Raise LinesMissing if the database lacks lines."""
    lacking = {node: mark for node, mark in sorted(marks.items()) if mark.lacks}
    if not lacking:
        return
    missing = [
        f"lines {max(m.line, m.spare) + 1} to {m.known} of node {m.label or '?'}, number {n}"
        for n, m in lacking.items()
    ]
    number, first = next(iter(lacking.items()))
    raise LinesMissing(
        f"the database lacks lines of the nodes' journals: {'; '.join(missing)}",
        "start these nodes, which give the lines back; if the disk of one is lost for good: "
        f"recorder journal accept --node {number} --reason TEXT",
        first.label or str(number),
    )


def _older() -> DatabaseOlder:
    return DatabaseOlder("the database lacks lines of the nodes' journals", "it is opened again")


def _known(mark: Mark | None) -> int:
    return 0 if mark is None else max(mark.known, mark.line)


async def _marks(connection: AsyncConnection) -> dict[int, Mark]:
    at = journal_mark.c
    found = await connection.execute(sa.select(at.node, at.label, at.known, at.spare, at.line))
    return {node: Mark(label, known, spare, line) for node, label, known, spare, line in found}


async def _retired(connection: AsyncConnection) -> set[int]:
    return set(await connection.scalars(sa.select(nodes.c.node).where(nodes.c.state == NodeState.RETIRED)))


async def _tell(connection: AsyncConnection, node: int, mark: Mark) -> None:
    """Write into the database the mark of another node that this node knows."""
    put = postgresql_insert(journal_mark).values(
        node=node, line=0, label=mark.label, known=mark.known, spare=mark.spare
    )
    new = {name: sa.func.greatest(journal_mark.c[name], put.excluded[name]) for name in ("known", "spare")}
    await connection.execute(put.on_conflict_do_update(index_elements=["node"], set_=new))


async def _places(connection: AsyncConnection, names: Iterable[str]) -> Places:
    """Return the places that `journal_rows` has for rows of some tables."""
    columns = journal_rows.c.name, journal_rows.c.key, journal_rows.c.place
    found = await connection.execute(sa.select(*columns).where(journal_rows.c.name.in_(list(names))))
    return {(name, key): place for name, key, place in found}


async def _alike(
    connection: AsyncConnection, name: str, items: Sequence[Item]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows of a table that have the unique value of one of the items."""
    table, column = metadata.tables[name], UNIQUE[name]
    values = [value_of(item.put[column]) for item in items if item.table == name and item.put and item.put[column]]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for part in batches(values):
        rows = await taken(connection, table, table.c[column].in_(part))
        found |= {item.key: dict(item.put or {}) for item in rows}
    return found


async def _under_requests(connection: AsyncConnection, table: sa.Table, found: list[Item]) -> list[Item]:
    """Seal the calls of a request under the request's own leaf."""
    if table is not erasure_calls:
        return found
    leaves = {id: leaf for id, leaf in await connection.execute(sa.select(erasures.c.id, erasures.c.leaf))}  # noqa: C416
    return [replace(item, leaf=leaves.get(item.key[0]) or LAST_LEAF) for item in found]


def _removal(table: sa.Table, key: str, place: int) -> Item:
    """Return the item for a key in `journal_rows` that removes its row, or the rows that match its condition."""
    condition = condition_of((table.name, key))
    if condition is None:
        names = [column.name for column in table.primary_key]
        condition = dict(zip(names, json.loads(key), strict=True))
    return Item(LAST_LEAF, table.name, None, condition, place)
