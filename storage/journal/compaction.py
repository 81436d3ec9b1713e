"""Compaction of the journal, which drops rows written again later, deleted rows, and rows whose keys were erased.

    done = await compact(journal, database)       False if not worthwhile, or if a transaction is not committed yet

Valid items are copied as they are, still sealed, so nothing that was erased comes back. The new file is complete and
durable before it replaces the old one, in a transaction during which nobody else writes journaled rows. A crash leaves
the old file or the new one.
"""

import asyncio
from collections.abc import Callable, Iterator

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.database import Database
from storage.database.schema import metadata
from storage.errors import SealBroken
from storage.files.durable_files import Disk
from storage.journal.journal import TABLES, Item, Journal, committed, mark
from storage.journal.journal_format import packed

LEAST = 1 << 20  # bytes; a smaller file is not compacted
TIMES = 2  # compact when the file is this many times as large as its valid items
_ROW = 700  # bytes of a line besides the sealed values of a row: names of columns, ids, times, all in base64


async def compact(journal: Journal, database: Database) -> bool:
    """Rewrite the journal if most of it is out of date; if this raises StorageError, the old file stays."""
    if journal.size < LEAST:
        return False
    async with database.reading() as connection:
        if journal.size < TIMES * await _expected(connection):
            return False
        number = await mark(connection, journal.node)
        needed = None if journal.shared is None else await journal.shared.needed(connection)
    draft, old = journal.compacted, journal.place()
    try:
        await asyncio.to_thread(lambda: journal.draft(draft, standing(journal, number, needed)))
        async with database.writing() as connection:
            whole = await committed(connection, journal) == await asyncio.to_thread(lambda: journal.newest)
            whole = whole and journal.place() == old  # another process may have rewritten it from the database
            if whole:  # then the transactions of all lines have committed
                await asyncio.to_thread(journal.swap, draft, number)
        return whole
    except SealBroken:
        return False  # `recorder verify` reports it; a journal with a damaged line is not compacted
    finally:
        await asyncio.to_thread(Disk().remove, draft)


def standing(journal: Journal, number: int, needed: Callable[[Item], bool] | None = None) -> Iterator[bytes]:
    """Yield the lines up to a number with only their valid items, as they were sealed; raises SealBroken.

    `needed`: returns whether an item is valid; None if the journal alone decides that.
    """
    kept = _kept(journal, number, needed)
    if not kept:
        yield journal.bare(number)
    place = 0
    for head, line in journal.lines():
        if head.number > number:
            return
        boxes = []
        for box, _ in journal.boxes(line):
            if place in kept:
                boxes.append(box)
            place += 1
        if boxes:
            yield packed(head.copied(number), boxes)


def _kept(journal: Journal, number: int, needed: Callable[[Item], bool] | None) -> set[int]:
    """Return the positions, counted through the whole file, of the items that are still valid."""
    known = {table.name for table in TABLES}
    rows: dict[tuple[str, tuple[object, ...]], int] = {}
    others: set[int] = set()
    place = 0
    for head, line in journal.lines():
        if head.number > number:
            break
        for _, item in journal.boxes(line):
            if item is not None and item.table not in known:
                others.add(place)  # a later version wrote it
            elif item is not None and needed is not None:
                others |= {place} if needed(item) else set()
            elif item is not None and item.put is not None:
                rows[item.table, item.key] = place
            elif item is not None and not _take_away(rows, item):
                others.add(place)
            place += 1
    return others | set(rows.values())


def _take_away(rows: dict[tuple[str, tuple[object, ...]], int], item: Item) -> bool:
    """Drop rows that an item deletes; return False if the item must stay because it selects them by other columns."""
    if not item.drop:
        for key in [key for key in rows if key[0] == item.table]:
            del rows[key]
        return True
    names = [column.name for column in metadata.tables[item.table].primary_key]
    if set(item.drop) != set(names):
        return False
    rows.pop((item.table, tuple(item.drop[name] for name in names)), None)
    return True


async def _expected(connection: AsyncConnection) -> int:
    """Estimate the bytes of a journal that contains every row once."""
    total = 0
    for table in TABLES:
        blobs = [c for c in table.c if isinstance(c.type, sa.LargeBinary)]
        sizes = [sa.func.coalesce(sa.func.sum(sa.func.length(c)), 0) for c in blobs]
        count, *found = (await connection.execute(sa.select(sa.func.count(), *sizes).select_from(table))).one()
        total += count * _ROW + sum(map(int, found)) * 16 // 9  # base64 twice
    return total
