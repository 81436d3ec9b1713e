"""Reading the rows of the table `nodes`, for web pages, commands and other nodes.

Rows are written and read by the clock of the database, because the clocks of nodes may be wrong. After a fail-over the
time in a row may be in the future; such a row does not count as fresh.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.database import Database
from storage.database.database_clock import MICROS, NOW
from storage.database.schema import cut_acknowledgements, nodes
from storage.timestamps import from_micros

STALE_SECONDS = 30.0
"""Age up to which a row is fresh: after it two renewals have failed, and the third is late."""

FREE_SECONDS = 2 * 86_400.0
"""Age of a retirement after which the number is free: by then no call gets a leaf of the retirement's day."""

LEFT = 0
"""Value of `seen` for a node that has given up its row."""

UP_SINCE = sa.cast(sa.extract("epoch", sa.func.pg_postmaster_start_time()) * MICROS, sa.BigInteger)
_DEFAULTS: dict[str, Any] = {"state": "active", "epoch": 0, "indexed_until": 0, "seq": 0}
"""Values of columns that an older schema does not have."""


class NodeState(enum.StrEnum):
    """State of a node; every state except AWAY is stored in its row."""

    PENDING = "pending"
    """It is admitted but has not started yet."""
    ACTIVE = "active"
    DRAINING = "draining"
    """It takes no new calls, but does everything else."""
    AWAY = "away"
    """Its row was not renewed for STALE_SECONDS, or it has stopped."""
    RETIRED = "retired"
    """It may no longer write."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A row of the table `nodes`, as one transaction sees it."""

    number: int
    """Number of the node."""
    name: str
    """Name of the node."""
    tree: str
    """Fingerprint of its key tree, "" if it has none yet."""
    instance: str
    """Boot of the machine that has taken the row."""
    state: NodeState
    """State stored in the row, never AWAY."""
    epoch: int
    """Number that every start and the retirement raise."""
    indexed_until: int
    """Its calls that ended before this time are indexed; microseconds."""
    seq: int
    """Number of its newest transaction."""
    seen: int
    """When it last renewed its row or was retired, microseconds by the database clock; LEFT if it gave up its row."""
    age: int
    """Microseconds since `seen`, by the clock of the database."""

    @property
    def fresh(self) -> bool:
        """Return whether the node renewed its row within STALE_SECONDS."""
        return self.state is not NodeState.RETIRED and self.seen != LEFT and abs(self.age) < STALE_SECONDS * MICROS

    @property
    def shown(self) -> NodeState:
        """Return the state as people see it: AWAY for an active or draining node whose row is not fresh."""
        on = self.state in (NodeState.ACTIVE, NodeState.DRAINING)
        return NodeState.AWAY if on and not self.fresh else self.state

    @property
    def lease_until(self) -> datetime | None:
        """Return until when no other instance may take the row, by the database clock; None if one may now."""
        return from_micros(self.seen + int(STALE_SECONDS * MICROS)) if self.fresh else None

    @property
    def free(self) -> bool:
        """Return whether another node may get the number."""
        return self.state is NodeState.RETIRED and self.age >= FREE_SECONDS * MICROS

    def __str__(self) -> str:
        """Return the node's name as messages show it."""
        return f"node {self.name}, number {self.number}"


async def nodes_of(
    connection: AsyncConnection, *, lock: bool = False, since: sa.ColumnElement[int] | None = None
) -> list[NodeRow]:
    """Return the rows of all nodes, sorted by number; works with an older schema too.

    `lock`: lock the rows until the end of this transaction. `since`: rows renewed before this time count as renewed
    at it.
    """
    have = {each["name"] for each in await connection.run_sync(lambda plain: sa.inspect(plain).get_columns(nodes.name))}
    renewed = nodes.c.seen if since is None else sa.func.greatest(nodes.c.seen, since)
    asked = _asked([column for column in nodes.c if column.name in have], renewed)
    return await _rows(connection, asked.with_for_update() if lock else asked)


async def served_nodes_of(connection: AsyncConnection) -> list[NodeRow]:
    """Return the rows of all nodes, sorted by number, of an open database, whose schema is known to be new."""
    return await _rows(connection, _SERVED)


def _asked(columns: Iterable[sa.Column[Any]], renewed: sa.ColumnElement[int]) -> sa.Select[Any]:
    age = sa.type_coerce(NOW - renewed, sa.BigInteger).label("age")
    return sa.select(*columns, age).order_by(nodes.c.node)


_SERVED = _asked(nodes.c, nodes.c.seen)


async def _rows(connection: AsyncConnection, asked: sa.Select[Any]) -> list[NodeRow]:
    return [_row({**_DEFAULTS, **each._mapping}) for each in await connection.execute(asked)]


def _row(found: dict[str, Any]) -> NodeRow:
    return NodeRow(
        found["node"], found["label"], found["tree"], found["instance"], NodeState(found["state"]), found["epoch"],
        found["indexed_until"], found["seq"], found["seen"], found["age"],
    )  # fmt: skip


async def listed(database: Database) -> list[tuple[NodeRow, int | None]]:
    """Return the rows of all nodes, each with the number of the last line of `cuts` that it acknowledged, or None.

    The database need not be open. A SQLite file has no rows, and neither has a database that was never used.
    """
    if database.dialect != "postgresql":
        return []
    with database.opening():
        async with database.reading() as connection:
            present = set(await connection.run_sync(lambda plain: sa.inspect(plain).get_table_names()))
            cuts: dict[str, int] = {}
            if cut_acknowledgements.name in present:
                found = await connection.execute(sa.select(cut_acknowledgements.c.node, cut_acknowledgements.c.n))
                cuts = {each.node: each.n for each in found}
            rows = await nodes_of(connection) if nodes.name in present else []
    return [(row, cuts.get(row.name)) for row in rows]
