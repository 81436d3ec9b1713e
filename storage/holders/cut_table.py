"""The tables `cuts` and `cut_acknowledgements` in one transaction (docs/formats/cuts.md). Policy: storage.cuts."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.cuts.holder_steps import Table, appended
from storage.cuts.lines import BEGIN, Acknowledgement, ChainKeys, Kind, Line, Numbered
from storage.database.database_clock import MICROS, NOW
from storage.database.schema import cut_acknowledgements, cut_erasures, cuts, nodes
from storage.keys.cut_log import entry_of
from storage.nodes.indexed import INDEXED
from storage.nodes.rows import STALE_SECONDS, NodeState
from storage.timestamps import from_micros

APPLIED, BY_ALL = 1, 2
"""Values of the column `removed`: rows and objects are removed when this node has applied a line, and again when all
holders have.
"""

MOST_LINES = 10_000
"""Most lines that one pass of removal handles."""

LOST_SECONDS = 900.0
"""How long retention waits for a silent node: after a fail-over it may know of a hold that the database has lost.

A delay of this length in retention does no harm.
"""

Place = tuple[int, bytes]
"""Number of a line and the chain at it; (0, BEGIN) before the first line."""

START: Place = (0, BEGIN)

ChangeMark = tuple[Place, tuple[int, int]]
"""A value that changes whenever a holder has something to do.

It consists of the newest line, and of the number of acknowledgements with the sum of their line numbers. The second
part is (-1, 0) while the rows of a line wait to be removed.
"""

_NEWEST = sa.select(cuts.c.n).order_by(cuts.c.n.desc()).limit(1)
_UNREMOVED = sa.exists().where(cuts.c.removed < sa.literal_column(str(APPLIED)))  # as in the condition of its index
_ACKNOWLEDGED = sa.select(sa.func.count()).select_from(cut_acknowledgements)
CHANGE_COLUMNS = (
    _NEWEST.scalar_subquery().label("newest"),
    _NEWEST.with_only_columns(cuts.c.chain).scalar_subquery().label("chain"),
    _UNREMOVED.label("unremoved"),
    _ACKNOWLEDGED.scalar_subquery().label("holders"),
    _ACKNOWLEDGED.with_only_columns(sa.func.sum(cut_acknowledgements.c.n)).scalar_subquery().label("acknowledged"),
)
"""The columns that `change_mark_of` needs in a row; its statement may select more."""


async def newest(connection: AsyncConnection) -> Place:
    """Return the place of the newest line."""
    row = (await connection.execute(sa.select(cuts.c.n, cuts.c.chain).order_by(cuts.c.n.desc()).limit(1))).first()
    return START if row is None else (row.n, bytes(row.chain))


def change_mark_of(row: sa.Row[Any]) -> ChangeMark:
    """Return the change mark from a row that has CHANGE_COLUMNS."""
    place = START if row.newest is None else (int(row.newest), bytes(row.chain))
    return place, (-1, 0) if row.unremoved else (int(row.holders), int(row.acknowledged or 0))


async def change_mark(connection: AsyncConnection) -> ChangeMark:
    """Return the present change mark of the tables."""
    return change_mark_of((await connection.execute(sa.select(*CHANGE_COLUMNS))).one())


async def moment(connection: AsyncConnection) -> datetime:
    """Return the time by the clock of the database."""
    return from_micros(int(await connection.scalar(sa.select(NOW)) or 0))


async def silent_for(connection: AsyncConnection, name: str) -> float | None:
    """Return the seconds since a node last renewed its row, by the clock of the database.

    Returns None if the node is unknown, was retired, or gave up its row when it stopped.
    """
    mine = sa.and_(nodes.c.label == name, nodes.c.state != NodeState.RETIRED, nodes.c.seen > 0)
    age = await connection.scalar(sa.select(NOW - nodes.c.seen).where(mine))
    return None if age is None else age / MICROS


async def away(connection: AsyncConnection, names: Collection[str]) -> list[str]:
    """Return which of these nodes are unknown, or silent for over STALE_SECONDS by the clock of the database."""
    silent = {name: await silent_for(connection, name) for name in sorted(names)}
    return [name for name, seconds in silent.items() if seconds is None or seconds > STALE_SECONDS]


async def unindexed(connection: AsyncConnection, until: int, *, retired: bool = False) -> set[str]:
    """Return the names of the nodes that have not indexed all their calls that ended before `until` (microseconds).

    `retired`: count retired nodes too.
    """
    not_waited_for = (NodeState.PENDING,) if retired else (NodeState.PENDING, NodeState.RETIRED)
    late = sa.and_(nodes.c.indexed_until <= until, nodes.c.state.not_in(not_waited_for))
    return set(await connection.scalars(sa.select(nodes.c.label).where(late)))


async def written(connection: AsyncConnection) -> int:
    """Return the time, in microseconds, since which every node has written here or has been waited for long enough.

    Before it writes, a node checks whether the database has lost what it had committed, and gives that back.
    """
    waited = NOW - round(LOST_SECONDS * MICROS)
    return int(await connection.scalar(sa.select(sa.func.greatest(waited, INDEXED))) or 0)


async def has(connection: AsyncConnection, place: Place) -> bool:
    """Return whether the table has this chain at this line."""
    chain = await connection.scalar(sa.select(cuts.c.chain).where(cuts.c.n == place[0]))
    return place == START or (chain is not None and bytes(chain) == place[1])


async def read(connection: AsyncConnection, since: int = 0) -> Table:
    """Return the lines from `since` on and all acknowledgements.

    Of the earlier lines, include those that change who holds the keys, and those at which a holder acknowledged.
    """
    acknowledged = {
        each.node: Acknowledgement(each.node, each.n, bytes(each.chain), bytes(each.tree), bytes(each.mac))
        for each in await connection.execute(sa.select(cut_acknowledgements))
    }
    at_acknowledgement = cuts.c.n.in_({each.n for each in acknowledged.values()})
    wanted = sa.or_(cuts.c.n >= since, cuts.c.kind != Kind.CUT.value, at_acknowledgement)
    lines = [numbered(each) for each in await connection.execute(sa.select(cuts).where(wanted).order_by(cuts.c.n))]
    return Table(tuple(lines), acknowledged)


async def append(connection: AsyncConnection, line: Line, keys: ChainKeys, customer: str) -> Numbered:
    """Append a line in a writing transaction and return it with its number; only one transaction writes at a time.

    If the id of the line is already in the table, return the line from there.
    """
    present = (await connection.execute(sa.select(cuts).where(cuts.c.id == line.id))).first()
    if present is not None:
        return numbered(present)
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


async def acknowledge(connection: AsyncConnection, acknowledgement: Acknowledgement) -> bool:
    """Write an acknowledgement; return False if the table has another chain at its line."""
    a = acknowledgement
    if not await has(connection, (a.n, a.chain)):
        return False
    values = {"n": a.n, "chain": a.chain, "tree": a.tree, "mac": a.mac}
    mine = cut_acknowledgements.update().where(cut_acknowledgements.c.node == a.node).values(**values)
    if not (await connection.execute(mine)).rowcount:
        await connection.execute(cut_acknowledgements.insert().values(node=a.node, **values))
    return True


async def unremoved(connection: AsyncConnection) -> list[tuple[Numbered, int]]:
    """Return the lines whose rows or objects may remain, oldest first, each with its value of the column `removed`."""
    rows = await connection.execute(sa.select(cuts).where(cuts.c.removed < BY_ALL).order_by(cuts.c.n).limit(MOST_LINES))
    return [(numbered(each), each.removed) for each in rows]


async def removed(connection: AsyncConnection, lines: Iterable[Line], stage: int) -> None:
    """Raise the column `removed` of some lines to a stage: APPLIED or BY_ALL."""
    ids = [line.id for line in lines]
    if ids:
        mine = sa.and_(cuts.c.id.in_(ids), cuts.c.removed < stage)
        await connection.execute(cuts.update().where(mine).values(removed=stage))


async def of_erasure(connection: AsyncConnection, id: str) -> list[tuple[int, int]]:
    """Return the number of each line of an erasure, with its value of the column `removed`."""
    joined = cut_erasures.join(cuts, cuts.c.id == cut_erasures.c.line)
    asked = sa.select(cuts.c.n, cuts.c.removed).select_from(joined).where(cut_erasures.c.erasure == id)
    return [(each.n, each.removed) for each in await connection.execute(asked)]


def numbered(record: sa.Row) -> Numbered:  # type: ignore[type-arg]
    """Return the line in a row of `cuts`; raise CutsForged if it cannot be read."""
    return Numbered(record.n, bytes(record.chain), Line.parse(bytes(record.line)))
