"""The time up to which each node's calls are indexed: every call that ended before it is in the index.

The indexer reads the time of the database, then checks which calls still wait to be written, and notes that time minus
the age of the oldest of these calls: a call that is queued later also ended later.

A node without calls to write notes the time only every few seconds, and when somebody waits for it: an open erasure, or
another node that needs all calls up to the time in its row (`asked`; storage.customer.poll).
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.database import Database
from storage.database.database_clock import MICROS, NOW
from storage.database.schema import nodes
from storage.nodes.rows import STALE_SECONDS, NodeState

MARGIN_SECONDS = 1.0
"""Longest time from the INVITE of a call until the call is queued for the index."""

LOOK_SECONDS = 0.25

ASKED = sa.select(sa.func.max(nodes.c.asked)).scalar_subquery()
"""Selects the newest time up to which a node needs the calls of the others."""

# A pending node has no calls yet, and nobody can get the calls of a retired one.
_NOT_WAITED_FOR = (NodeState.PENDING, NodeState.RETIRED)


INDEXED = sa.select(sa.func.min(nodes.c.indexed_until)).where(nodes.c.state.not_in(_NOT_WAITED_FOR)).scalar_subquery()
"""Selects the time until which the calls of all nodes are indexed."""


def until_of(moment: int, age: float) -> int:
    """Return the time up to which calls are indexed; `age`: seconds of the oldest call that waited at `moment`."""
    return moment - round((age + MARGIN_SECONDS) * MICROS)


Compare = Callable[[int, int], None]
"""Raises DatabaseOlder if epoch and transaction number of a node's row are below those that it has committed."""


def same(epoch: int, seq: int) -> None:
    """Accept any row."""


class Indexed:
    """Progress of all nodes in indexing their calls in one customer's database."""

    def __init__(self, database: Database, node: int) -> None:
        self._database = database
        self._node = node

    async def now(self, connection: AsyncConnection) -> int:
        """Return the time of the database, in microseconds since 1970-01-01 UTC."""
        return int(await connection.scalar(sa.select(NOW)) or 0)

    async def note(
        self, connection: AsyncConnection, moment: int, age: float, *, alone: bool = False, compare: Compare = same
    ) -> int:
        """Note that this node's calls that ended over `age` seconds before `moment` are indexed; return the time noted.

        `alone`: the transaction does nothing else, so its commit need not wait for the disk of the database. No guard
        of the database has checked the row of this node in this case, so `compare` does.
        """
        if alone:
            await connection.execute(sa.select(sa.func.set_config("synchronous_commit", "off", True)))
        until = until_of(moment, age)
        mine = sa.and_(nodes.c.node == self._node, nodes.c.indexed_until < until)
        change = nodes.update().where(mine).values(indexed_until=until).returning(nodes.c.epoch, nodes.c.seq)
        for epoch, seq in await connection.execute(change):
            compare(epoch, seq)
        return until

    async def until(self) -> int:
        """Return the time up to which the calls of this node are indexed, in microseconds; 0 if unknown."""
        asked = sa.select(nodes.c.indexed_until).where(nodes.c.node == self._node)
        async with self._database.reading() as connection:
            return int(await connection.scalar(asked) or 0)

    async def behind(self, moment: int, *, away: bool = True) -> Sequence[str]:
        """Return the names of the other nodes that have not indexed all their calls from before `moment`.

        `away`: include nodes that are away. Retired nodes never count.
        """
        late = sa.and_(nodes.c.indexed_until < moment, nodes.c.node != self._node)
        asked = sa.select(nodes.c.label).where(late, nodes.c.state.not_in(_NOT_WAITED_FOR)).order_by(nodes.c.node)
        if not away:
            asked = asked.where(nodes.c.seen > NOW - round(STALE_SECONDS * MICROS))
        async with self._database.reading() as connection:
            return list(await connection.scalars(asked))

    async def reached(self, seconds: float, *, away: bool = True) -> bool:
        """Wait until the other nodes have indexed their calls up to now; return False if that takes over `seconds`."""
        async with self._database.beside() as connection:
            moment = await self.now(connection)
            mine = sa.and_(nodes.c.node == self._node, nodes.c.asked < moment)
            await connection.execute(nodes.update().where(mine).values(asked=moment))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self.behind(moment, away=away):  # noqa: ASYNC110 - other nodes end it
                    await asyncio.sleep(LOOK_SECONDS)
                return True
        return False
