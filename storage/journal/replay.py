"""Replay of the journal into a database that is lost, older or one line behind, before the database is served.

    await give_back(journal, database)            restores the rows of a lost database; returns how many
    late = await behind(journal, database)
    await settle(journal, database)               does everything; returns the rows that a lost database got back
    odd = await differences(journal, database)    for `recorder verify`

The journal has the number of its newest line, and the database that of the newest line it contains (`journal.mark`).
If they are equal, nothing else is read. A database that is behind gets the later lines, or all valid rows if some of
those lines were compacted away. A journal that is behind is rewritten from the database.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.batches import batches
from storage.database.database import Database
from storage.database.schema import (
    annotations,
    attachments,
    calls,
    column_sets,
    erasure_calls,
    erasures,
    holds,
    metadata,
    retention_rules,
    users,
    waivers,
)
from storage.errors import SealBroken
from storage.journal.journal import (
    TABLES,
    Item,
    Journal,
    State,
    advance,
    apply,
    committed,
    mark,
    request,
    set_mark,
    taken,
    value_of,
)

_OWN_LEAF = (holds, annotations, attachments, retention_rules, waivers, users, column_sets)  # rows with their own leaf
_RETENTION = "retention"  # cause of erasures whose rows are only in the database until they are done
_DONE = "done"


async def give_back(journal: Journal, database: Database) -> int:
    """Restore all journaled rows if the database has none; return how many."""
    async with database.reading() as connection:
        if not await _blank(connection):
            return 0
    return await settle(journal, database)


async def behind(journal: Journal, database: Database) -> bool:
    """Return whether the journal has lines that the database lacks."""
    async with database.reading() as connection:
        if await mark(connection, journal.node) >= await asyncio.to_thread(lambda: journal.newest):
            return False
    async with database.writing() as connection:  # waits for another process that is about to commit
        return await committed(connection, journal) < await asyncio.to_thread(lambda: journal.newest)


async def settle(journal: Journal, database: Database) -> int:
    """Bring both to the same state; return how many rows a lost database got back. Raises SealBroken."""
    try:
        return await (settle_alone(journal, database) if journal.shared is None else journal.shared.settle(database))
    except SealBroken:
        hint = "restore both from one backup; if you remove the journal, the database is served as it is"
        raise SealBroken("the journal that the database needs is damaged, or another customer's", hint) from None


async def settle_alone(journal: Journal, database: Database) -> int:
    """Bring both to the same state if only this node uses the database; raises SealBroken."""
    async with database.reading() as connection:
        blank, mine, newest = await _places(connection, journal)
        if not blank and mine == newest and await asyncio.to_thread(lambda: journal.exists):
            return 0
    async with database.writing() as connection:
        await advance(connection, 0)  # waits for a transaction of another process that has a line
        blank, mine, newest = await _places(connection, journal)
        begun = await asyncio.to_thread(lambda: journal.exists)
        if blank and (begun or not mine):
            return await _give_all_back(connection, journal, newest) if begun else 0
        if not begun or newest < mine:
            await asyncio.to_thread(journal.begin, await everything(connection), mine)
        elif newest > mine:
            with suppress(IntegrityError):  # a forged line that violates a constraint must not prevent the start
                async with connection.begin_nested():
                    await _catch_up(connection, journal, mine, newest)
        return 0


async def differences(journal: Journal, database: Database) -> dict[str, int]:
    """Compare journal and database; return table → number of rows that differ or are in only one of them, {} if none.

    Erasures are left out, because erasures by retention are only in the database until they are done.
    """
    if journal.shared is not None:
        return await journal.shared.differences(database)
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


async def _places(connection: AsyncConnection, journal: Journal) -> tuple[bool, int, int]:
    """Return whether the database has no journaled row, and the numbers of the newest lines of database and journal."""
    return await _blank(connection), await mark(connection), await asyncio.to_thread(lambda: journal.newest)


async def _blank(connection: AsyncConnection) -> bool:
    return not await connection.scalar(sa.select(sa.or_(*(sa.exists(sa.select(table)) for table in TABLES))))


async def _give_all_back(connection: AsyncConnection, journal: Journal, newest: int) -> int:
    state = await asyncio.to_thread(journal.read)
    await carry_out(connection, state)
    await set_mark(connection, newest)
    return sum(map(len, state.values()))


async def _catch_up(connection: AsyncConnection, journal: Journal, mine: int, newest: int) -> None:
    """Bring an older database up to date with the journal."""
    journal.note_replay(mine, newest)
    await forget_dead(connection, journal)
    items = await asyncio.to_thread(journal.since, mine)
    if items is None:
        before, after = await _all_rows(connection), await asyncio.to_thread(journal.read)
        _spare_retention(before, after)
    else:
        before = await touched(connection, items)
        after = {name: dict(found) for name, found in before.items()}
        for item in items:
            apply(after, item)
    await carry_out(connection, changed_rows(before, after))
    await set_mark(connection, newest)


async def forget_dead(connection: AsyncConnection, journal: Journal) -> None:
    """Delete rows whose key was cut later, of which the journal has no readable line any more."""
    for table in _OWN_LEAF:
        (key,) = table.primary_key
        rows = await connection.execute(sa.select(key, table.c.leaf))
        gone = [id for id, leaf in rows if not journal.counts(Item(leaf, table.name, None, {}))]
        for part in batches(gone):
            await connection.execute(table.delete().where(key.in_(part)))


async def _all_rows(connection: AsyncConnection) -> State:
    return {t.name: {item.key: dict(item.put or {}) for item in await taken(connection, t)} for t in TABLES}


async def touched(connection: AsyncConnection, items: Sequence[Item]) -> State:
    """Return the database's present rows that the items change."""
    before: State = {}
    for name in {item.table for item in items} & {table.name for table in TABLES}:
        table, mine = metadata.tables[name], [item for item in items if item.table == name]
        before[name] = {}
        keys = list(dict.fromkeys(item.key for item in mine if item.put is not None))
        asked = [among(table, part) for part in batches(keys)]
        asked += [sa.and_(sa.true(), *(table.c[n] == v for n, v in i.drop.items())) for i in mine if i.put is None]
        for condition in asked:
            before[name].update({item.key: dict(item.put or {}) for item in await taken(connection, table, condition)})
    return before


def _spare_retention(before: State, after: State) -> None:
    """Leave running erasures by retention, with their calls, as they are in the database."""
    going = {
        key[0]: row
        for key, row in before[erasures.name].items()
        if key not in after[erasures.name] and row["cause"].startswith(_RETENTION) and row["state"] != _DONE
    }
    after[erasures.name].update({(id,): row for id, row in going.items()})
    theirs = {key: row for key, row in before[erasure_calls.name].items() if row["erasure"] in going}
    after[erasure_calls.name].update(theirs)


def changed_rows(before: State, after: State) -> State:
    """Return the rows that must change, {} for rows to delete."""
    found: State = {}
    for name in after:
        gone: dict[tuple[Any, ...], dict[str, Any]] = {key: {} for key in before[name] if key not in after[name]}
        found[name] = {**gone, **{key: row for key, row in after[name].items() if before[name].get(key) != row}}
    return found


async def carry_out(connection: AsyncConnection, changes: State) -> None:
    """Write the rows given, and delete those given as {}."""
    for name, found in changes.items():
        table = metadata.tables[name]
        for part in batches(list(found)):
            await connection.execute(table.delete().where(among(table, part)))
    ended = [row["id"] for row in changes.get(erasures.name, {}).values() if row and row["state"] == _DONE]
    for part in batches(ended):  # the calls of a finished erasure are in its receipt
        await connection.execute(erasure_calls.delete().where(erasure_calls.c.erasure.in_(part)))
    for name, found in changes.items():
        rows = [{column: value_of(value) for column, value in row.items()} for row in found.values() if row]
        for some in batches(rows):
            await connection.execute(metadata.tables[name].insert(), some)
    for held in (True, False):
        ids = [key[0] for key, row in changes.get(holds.name, {}).items() if bool(row) is held]
        for part in batches(ids):
            await connection.execute(calls.update().where(calls.c.id.in_(part)).values(hold=held))


async def everything(connection: AsyncConnection) -> list[Item]:
    """Return all journaled rows as items, for a journal that lacks them."""
    items: list[Item] = []
    for table in TABLES:
        if table is not erasure_calls:
            items += await taken(connection, table)
    for id in await connection.scalars(sa.select(erasures.c.id).where(erasures.c.leaf.is_not(None))):
        items += await request(connection, id)
    return items


def among(table: sa.Table, keys: Sequence[tuple[Any, ...]]) -> sa.ColumnElement[bool]:
    """Return the condition that a row has one of these primary keys."""
    columns = list(table.primary_key)
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    return sa.tuple_(*columns).in_(keys)
