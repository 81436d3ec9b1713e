"""Calls that were live on a node when it was retired, whose end no process will ever index."""

import sqlalchemy as sa

from storage.calls.call_row import STATE_CODES, CallState
from storage.database.database import Database
from storage.database.schema import calls, nodes
from storage.nodes.rows import NodeState

_LIVE = calls.c.state == STATE_CODES[CallState.RECORDING]
_OF_RETIRED = sa.and_(calls.c.node == nodes.c.node, nodes.c.state == NodeState.RETIRED)
_LOST = sa.select(sa.exists().where(_LIVE, _OF_RETIRED))
_END = (
    calls.update()
    .where(_LIVE, _OF_RETIRED)
    .values(
        state=STATE_CODES[CallState.INTERRUPTED],
        ended_at=sa.func.greatest(calls.c.started_at, nodes.c.indexed_until),
        version=calls.c.version + 1,
    )
)


async def end(database: Database) -> int:
    """Mark the live calls of retired nodes as interrupted, so that retention applies to them; return how many.

    Their end becomes the time up to which their node had indexed its calls, when they were still live.
    """
    async with database.reading() as connection:
        if not await connection.scalar(_LOST):
            return 0
    async with database.writing() as connection:
        return int((await connection.execute(_END)).rowcount)
