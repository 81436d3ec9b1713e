"""The tables `cuts` and `cut_acknowledgements` in one transaction (docs/formats/cuts.md). Policy: storage.cuts."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.cuts.holder import Table, appended
from storage.cuts.lines import BEGIN, Acknowledgement, ChainKeys, Kind, Line, Numbered
from storage.database.database_clock import MICROS, NOW
from storage.database.schema import cut_acknowledgements, cut_erasures, cuts, nodes
from storage.keys.cut_log import entry_of
from storage.nodes.rows import STALE_SECONDS, NodeState
from storage.timestamps import from_micros

APPLIED, BY_ALL = 1, 2
"""What `removed` says: rows and objects were removed after a line was applied, and once more after all had."""

MOST_LINES = 10_000
"""Lines of which one look removes what is left."""

Place = tuple[int, bytes]
"""Number of a line and the chain there; (0, BEGIN) before the first."""

START: Place = (0, BEGIN)

Rest = tuple[Place, tuple[int, int]]
"""What changes whenever a holder has something to do: the newest line, and number and sum of the acknowledgements.

The second is (-1, 0) while something that was cut was not removed by anybody.
"""

_NEWEST = sa.select(cuts.c.n).order_by(cuts.c.n.desc()).limit(1)
_UNREMOVED = sa.exists().where(cuts.c.removed < sa.literal_column(str(APPLIED)))  # as in the condition of its index
_ACKNOWLEDGED = sa.select(sa.func.count()).select_from(cut_acknowledgements)
REST = (
    _NEWEST.scalar_subquery().label("newest"),
    _NEWEST.with_only_columns(cuts.c.chain).scalar_subquery().label("chain"),
    _UNREMOVED.label("unremoved"),
    _ACKNOWLEDGED.scalar_subquery().label("holders"),
    _ACKNOWLEDGED.with_only_columns(sa.func.sum(cut_acknowledgements.c.n)).scalar_subquery().label("acknowledged"),
)
"""The columns from which `rest_of` reads, of a statement that may ask for more."""


async def newest(connection: AsyncConnection) -> Place:
    """Return the place of the newest line."""
    found = (await connection.execute(sa.select(cuts.c.n, cuts.c.chain).order_by(cuts.c.n.desc()).limit(1))).first()
    return START if found is None else (found.n, bytes(found.chain))


def rest_of(row: sa.Row[Any]) -> Rest:
    """Return what the columns `REST` say."""
    place = START if row.newest is None else (int(row.newest), bytes(row.chain))
    return place, (-1, 0) if row.unremoved else (int(row.holders), int(row.acknowledged or 0))


async def at_rest(connection: AsyncConnection) -> Rest:
    """Return what changes whenever a holder has something to do."""
    return rest_of((await connection.execute(sa.select(*REST))).one())


async def moment(connection: AsyncConnection) -> datetime:
    """Return the time by the clock of the database."""
    return from_micros(int(await connection.scalar(sa.select(NOW)) or 0))


async def silent_for(connection: AsyncConnection, name: str) -> float | None:
    """Return the seconds since a node was last there, by the clock of the database; None if it has left."""
    mine = sa.and_(nodes.c.label == name, nodes.c.state != NodeState.RETIRED, nodes.c.seen > 0)
    age = await connection.scalar(sa.select(NOW - nodes.c.seen).where(mine))
    return None if age is None else age / MICROS


async def away(connection: AsyncConnection, names: Collection[str]) -> list[str]:
    """Return which of these nodes were not there lately, by the clock of the database, or are unknown."""
    silent = {name: await silent_for(connection, name) for name in sorted(names)}
    return [name for name, seconds in silent.items() if seconds is None or seconds > STALE_SECONDS]


async def unindexed(connection: AsyncConnection, until: int, *, retired: bool = False) -> set[str]:
    """Return the nodes whose calls that ended before a time, in microseconds, are not all indexed.

    `retired`: also those that were retired.
    """
    not_waited_for = (NodeState.PENDING,) if retired else (NodeState.PENDING, NodeState.RETIRED)
    late = sa.and_(nodes.c.indexed_until <= until, nodes.c.state.not_in(not_waited_for))
    return set(await connection.scalars(sa.select(nodes.c.label).where(late)))


async def has(connection: AsyncConnection, place: Place) -> bool:
    """Say whether the table has this chain at this line."""
    there = await connection.scalar(sa.select(cuts.c.chain).where(cuts.c.n == place[0]))
    return place == START or (there is not None and bytes(there) == place[1])


async def read(connection: AsyncConnection, since: int = 0) -> Table:
    """Return the table from line `since` on, with everything that says who holds the keys and who has acknowledged."""
    acknowledged = {
        each.node: Acknowledgement(each.node, each.n, bytes(each.chain), bytes(each.tree), bytes(each.mac))
        for each in await connection.execute(sa.select(cut_acknowledgements))
    }
    told = cuts.c.n.in_({each.n for each in acknowledged.values()})
    wanted = sa.or_(cuts.c.n >= since, cuts.c.kind != Kind.CUT.value, told)
    lines = [numbered(each) for each in await connection.execute(sa.select(cuts).where(wanted).order_by(cuts.c.n))]
    return Table(tuple(lines), acknowledged)


async def append(connection: AsyncConnection, line: Line, keys: ChainKeys, customer: str) -> Numbered:
    """Append a line in a writing transaction, of which there is one at a time; return it. Repeatable."""
    there = (await connection.execute(sa.select(cuts).where(cuts.c.id == line.id))).first()
    if there is not None:
        return numbered(there)
    n, _ = await newest(connection)
    fresh = appended(await read(connection, n), line, keys)
    done = 0 if line.kind is Kind.CUT else BY_ALL
    values = {"n": fresh.n, "id": fresh.line.id, "kind": fresh.line.kind.value, "chain": fresh.chain, "removed": done}
    await connection.execute(cuts.insert().values(**values, line=bytes(fresh.line)))
    if line.kind is Kind.CUT:
        for id in entry_of(line.text, customer).ids:
            known = sa.exists().where(cut_erasures.c.erasure == id, cut_erasures.c.line == line.id)
            if not await connection.scalar(sa.select(known)):
                await connection.execute(cut_erasures.insert().values(erasure=id, line=line.id))
    return fresh


async def acknowledge(connection: AsyncConnection, given: Acknowledgement) -> bool:
    """Write an acknowledgement; return False if the table has another chain at its line."""
    if not await has(connection, (given.n, given.chain)):
        return False
    values = {"n": given.n, "chain": given.chain, "tree": given.tree, "mac": given.mac}
    mine = cut_acknowledgements.update().where(cut_acknowledgements.c.node == given.node).values(**values)
    if not (await connection.execute(mine)).rowcount:
        await connection.execute(cut_acknowledgements.insert().values(node=given.node, **values))
    return True


async def unremoved(connection: AsyncConnection) -> list[tuple[Numbered, int]]:
    """Return the lines of which something may be left to remove, oldest first, each with what was done."""
    found = await connection.execute(
        sa.select(cuts).where(cuts.c.removed < BY_ALL).order_by(cuts.c.n).limit(MOST_LINES)
    )
    return [(numbered(each), each.removed) for each in found]


async def removed(connection: AsyncConnection, lines: Iterable[Line], stage: int) -> None:
    """Note what was removed of some lines."""
    ids = [line.id for line in lines]
    if ids:
        mine = sa.and_(cuts.c.id.in_(ids), cuts.c.removed < stage)
        await connection.execute(cuts.update().where(mine).values(removed=stage))


async def of_erasure(connection: AsyncConnection, id: str) -> list[tuple[int, int]]:
    """Return number and `removed` of the lines of an erasure."""
    joined = cut_erasures.join(cuts, cuts.c.id == cut_erasures.c.line)
    asked = sa.select(cuts.c.n, cuts.c.removed).select_from(joined).where(cut_erasures.c.erasure == id)
    return [(each.n, each.removed) for each in await connection.execute(asked)]


def numbered(record: sa.Row) -> Numbered:  # type: ignore[type-arg]
    """Return the line of a row; raises CutsForged if it is none."""
    return Numbered(record.n, bytes(record.chain), Line.parse(bytes(record.line)))
