"""Leases of jobs that one of several nodes does for all; each job has a row with its owner and the end of its turn.

All times are those of the database clock. A node that dies keeps its turn until the turn ends; nothing is lost, because
the node with the next turn continues from the rows of the job. A node that was suspended for longer than its turn may
still write at the same time as its successor. Most effects of a job can be repeated; before an effect that cannot, the
job calls `still`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.database import Database
from storage.database.database_clock import MICROS, NOW
from storage.database.schema import job_leases
from storage.errors import StorageError
from storage.timestamps import to_micros
from storage.turns import Turn

SPAN_SECONDS = 60.0
"""How long a turn lasts after its last renewal: by then two renewals have failed, and the third is late."""
RENEW_SECONDS = 20.0
AGREE_SECONDS = 60.0
"""Greatest difference between the clocks of node and database at which retention still erases calls."""

_ME, _SPAN = sa.bindparam("me", type_=sa.SmallInteger), sa.bindparam("span", type_=sa.BigInteger)
_NEW = insert(job_leases).values(job=sa.bindparam("job"), owner=_ME, until=NOW + _SPAN)
_HOLD = _NEW.on_conflict_do_update(
    index_elements=[job_leases.c.job],
    set_={"owner": _NEW.excluded.owner, "until": _NEW.excluded.until},
    where=sa.or_(job_leases.c.owner == _NEW.excluded.owner, job_leases.c.until < NOW),
).returning(job_leases.c.owner)


class Leases:
    """Leases of one customer's jobs among several nodes (storage.turns.Turns)."""

    def __init__(self, database: Database, node: int) -> None:
        self._database = database
        self._node = node
        self._mine: dict[str, asyncio.Lock] = {}  # by job: this process has one turn at a time

    async def hold(self, job: str, seconds: float) -> bool:
        """Take a turn, or renew this node's turn, for some seconds; return False if another node has it."""
        values = {"job": job, "me": self._node, "span": round(seconds * MICROS)}
        async with self._database.beside() as connection:
            return (await connection.execute(_HOLD, values)).first() is not None

    @asynccontextmanager
    async def turn(self, job: str) -> AsyncIterator[Turn | None]:
        """Hold a turn while the block runs; yield None if another node has it."""
        async with self._mine.setdefault(job, asyncio.Lock()):
            if not await self.hold(job, SPAN_SECONDS):
                yield None
                return
            turn = Turn(partial(self._still, job))
            renewing = asyncio.create_task(self._renew(job), name="turn")
            try:
                yield turn
            finally:
                renewing.cancel()
                with suppress(StorageError):  # the turn ends by itself
                    await self.hold(job, turn.rest)

    async def _still(self, job: str, connection: AsyncConnection) -> bool:
        mine = sa.select(job_leases.c.job).where(job_leases.c.job == job, job_leases.c.owner == self._node)
        return await connection.scalar(mine.where(job_leases.c.until > NOW).with_for_update(read=True)) is not None

    async def _renew(self, job: str) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with suppress(StorageError):
                if not await self.hold(job, SPAN_SECONDS):
                    return


async def agrees(database: Database, now: datetime) -> bool:
    """Return whether `now` agrees with the database clock, so that all nodes find the same calls due."""
    async with database.reading() as connection:
        database_now = await connection.scalar(sa.select(NOW)) or 0
    return bool(abs(database_now - to_micros(now)) <= AGREE_SECONDS * MICROS)
