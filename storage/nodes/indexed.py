"""Until when the calls of each node are in the index: no call of a node that ended before is missing there.

Whoever writes calls reads the time of the database first, then looks what still waits to be written, and notes the
time less the age of the oldest that waits: whatever is queued later ended later.

A node that writes no calls notes it every few seconds only, and when somebody waits for it: an erasure that is open, or
a node that has written in its row until when it needs the calls of the others (`asked`; storage.customer.poll).
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
"""A call is queued for the index within this time of its INVITE."""

LOOK_SECONDS = 0.25

ASKED = sa.select(sa.func.max(nodes.c.asked)).scalar_subquery()
"""Selects the newest moment for which a node has waited."""

# One has no calls yet, the other none any more that anybody can read.
_NOT_WAITED_FOR = (NodeState.PENDING, NodeState.RETIRED)


INDEXED = sa.select(sa.func.min(nodes.c.indexed_until)).where(nodes.c.state.not_in(_NOT_WAITED_FOR)).scalar_subquery()
"""Selects until when the calls of all nodes are indexed."""


def until_of(moment: int, age: float) -> int:
    """Return until when calls are indexed if the oldest that waited at a moment was so many seconds old."""
    return moment - round((age + MARGIN_SECONDS) * MICROS)


Compare = Callable[[int, int], None]
"""Raises DatabaseOlder if epoch and number of transactions in the row of a node are less than it has committed."""


def same(epoch: int, seq: int) -> None:
    """Take the row as it is."""


class Indexed:
    """What the nodes of one customer's database have written."""

    def __init__(self, database: Database, node: int) -> None:
        self._database = database
        self._node = node

    async def now(self, connection: AsyncConnection) -> int:
        """Return the time of the database, in microseconds since 1970-01-01 UTC."""
        return int(await connection.scalar(sa.select(NOW)) or 0)

    async def note(
        self, connection: AsyncConnection, moment: int, age: float, *, alone: bool = False, compare: Compare = same
    ) -> int:
        """Note that all calls of this node are indexed that ended so many seconds before a moment, or earlier.

        Return until when they are.

        `alone`: nothing else is in the transaction, so nobody waits until the disk of the database has it. No guard of
        the database has looked at the row then, so `compare` does.
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
        """Return until when the calls of this node are indexed, in microseconds; 0 if that is not known."""
        asked = sa.select(nodes.c.indexed_until).where(nodes.c.node == self._node)
        async with self._database.reading() as connection:
            return int(await connection.scalar(asked) or 0)

    async def behind(self, moment: int, *, away: bool = True) -> Sequence[str]:
        """Return the names of other nodes whose calls from before a moment are not all indexed.

        `away`: also of those that are away. Retired nodes are not waited for.
        """
        late = sa.and_(nodes.c.indexed_until < moment, nodes.c.node != self._node)
        asked = sa.select(nodes.c.label).where(late, nodes.c.state.not_in(_NOT_WAITED_FOR)).order_by(nodes.c.node)
        if not away:
            asked = asked.where(nodes.c.seen > NOW - round(STALE_SECONDS * MICROS))
        async with self._database.reading() as connection:
            return list(await connection.scalars(asked))

    async def reached(self, seconds: float, *, away: bool = True) -> bool:
        """Wait until other nodes have indexed their calls up to now; return False if that takes longer than this."""
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
