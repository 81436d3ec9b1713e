"""Calls that were live on a node when it was retired: nobody will ever say how they ended."""

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
    """Let the calls of retired nodes be interrupted, so that retention sees them; return how many.

    They end when their node last said that its calls were indexed: they were live then.
    """
    async with database.reading() as connection:
        if not await connection.scalar(_LOST):
            return 0
    async with database.writing() as connection:
        return int((await connection.execute(_END)).rowcount)
