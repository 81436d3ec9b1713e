"""Legal holds: a held call is not erased until the hold is lifted.

    hold = await customer.holds.put(call, reason, by)    raises NoCall (404): unknown, erased, or being erased
    await customer.holds.remove(call)                    True if there was one; raises NoCall
    await customer.holds.get(call)                       Hold or None

A hold and an erasure never both succeed: an erasure marks its calls as begun in a transaction that checks the holds,
and a hold is set in a transaction that checks those marks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls import session_recordings
from storage.database.schema import calls, erasure_calls, holds
from storage.errors import StorageError
from storage.journal.journal import JournaledDatabase, JournaledRows, dropped
from storage.keys import sealing
from storage.timestamps import from_micros, to_micros

_KIND = "hold"
_HELD = sa.select(holds.c.call, holds.c.leaf)


class NoCall(StorageError):
    """There is no such call: unknown, erased, or being erased."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold that is in force."""

    call: str
    """Id of the call."""
    set_at: datetime
    """When it was set."""
    set_by: str
    """Name of the token that set it."""
    reason: str = field(repr=False)
    """The reason given."""


class Holds(JournaledRows):
    """The legal holds of one customer."""

    def __init__(self, store: JournaledDatabase, released: Callable[[], None]) -> None:
        """Call `released` after a hold is lifted, because an erasure may continue."""
        super().__init__(store)
        self._released = released

    async def put(self, call: str, reason: str, by: str) -> Hold:
        """Hold a call, or change the reason of its hold; raises NoCall."""
        now = self._now()
        async with self._database.writing() as connection:
            await leaf_of(connection, self._keys, call)
            hold = Hold(call, now, by, reason[: sealing.MAX_TEXT])
            await self._set(connection, hold, await session_recordings.with_others(connection, [call]))
        return hold

    async def remove(self, call: str) -> bool:
        """Lift a hold; return False if the call was not held; raises NoCall."""
        async with self._database.writing() as connection:
            every = await session_recordings.with_others(connection, [call])
            held = {each.call: each.leaf for each in await connection.execute(_HELD.where(holds.c.call.in_(every)))}
            if call not in held:
                await leaf_of(connection, self._keys, call)
                return False
            await connection.execute(holds.delete().where(holds.c.call.in_(every)))
            await connection.execute(calls.update().where(calls.c.id.in_(every)).values(hold=False))
            await self._journal.write([dropped(holds, leaf, call=each) for each, leaf in held.items()])
        self._released()
        return True

    async def join(self, connection: AsyncConnection, ids: Sequence[str]) -> None:
        """Put new calls under hold if another recording of their session is held."""
        others = await session_recordings.others_of(connection, ids)
        for id in others:
            for other in others[id]:
                hold = await self._of(connection, other)
                if hold is not None:
                    await self._set(connection, hold, [id])
                    break

    async def every(self) -> frozenset[tuple[str, int]]:
        """Return id and leaf of every held call, including calls that the index has lost."""
        async with self._database.reading() as connection:
            found = await connection.execute(sa.select(holds.c.call, holds.c.leaf))
            return frozenset((row.call, row.leaf) for row in found)

    async def get(self, call: str) -> Hold | None:
        """Return the hold of a call, None if there is none."""
        async with self._database.reading() as connection:
            return await self._of(connection, call)

    async def _set(self, connection: AsyncConnection, hold: Hold, every: Sequence[str]) -> None:
        """Write the hold for each of these calls."""
        leaves = sa.select(calls.c.id, calls.c.leaf).where(calls.c.id.in_(every))
        for call, leaf in (await connection.execute(leaves)).all():
            if not self._keys.keeps(leaf):
                continue
            sealed = sealing.seal(self._keys, leaf, _KIND, call, {"reason": hold.reason})
            await connection.execute(holds.delete().where(holds.c.call == call))
            values = {"call": call, "set_at": to_micros(hold.set_at), "set_by": hold.set_by, "leaf": leaf}
            await connection.execute(holds.insert(), {**values, "sealed": sealed})
        await connection.execute(calls.update().where(calls.c.id.in_(every)).values(hold=True))
        await self._journal.keep(connection, holds, holds.c.call.in_(every))

    async def _of(self, connection: AsyncConnection, call: str) -> Hold | None:
        record: Any = (await connection.execute(sa.select(holds).where(holds.c.call == call))).first()
        if record is None or not self._keys.keeps(record.leaf):
            return None
        told = sealing.unseal(self._keys, record.leaf, _KIND, call, record.sealed)
        return Hold(call, from_micros(record.set_at), record.set_by, str(told["reason"]))


async def leaf_of(connection: AsyncConnection, keys: sealing.DeletableKeys, call: str) -> int:
    """Return the leaf of a call that exists and is not being erased; raises NoCall."""
    leaf = await connection.scalar(sa.select(calls.c.leaf).where(calls.c.id == call))
    going = sa.select(sa.literal(1)).where(
        erasure_calls.c.call == call, erasure_calls.c.leaf.is_not(None), erasure_calls.c.step > 0
    )
    if leaf is None or not keys.keeps(leaf) or await connection.scalar(going.limit(1)):
        raise NoCall("there is no such call")
    return int(leaf)
