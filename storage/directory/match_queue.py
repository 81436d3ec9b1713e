"""The queue of calls to match with users of the directory: marks in the database, which survive a crash.

There are three kinds. A *stale user* has changed, so calls with any present or former value of this user must be
matched again. An *unmatched call* was written while the users were not loaded. The *walk* goes through all calls,
newest first, after an import with so many changes that looking each user up would take longer.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.schema import calls, days, matching, user_changes

FROM_THE_NEWEST = 1 << 62  # above every leaf
CALLS_A_USER = 50  # looking up one user in a year of days takes as long as matching this many calls
KEPT_CHANGES = 10_000  # kept for processes that read the changes every few seconds
_ROW = 1  # id of the only row of `matching`


@dataclass(frozen=True, slots=True)
class Outstanding:
    """The amount of matching that is left."""

    users: int
    """Stale users."""
    calls: int
    """Unmatched calls, and those that the walk has not reached."""

    def __bool__(self) -> bool:
        return bool(self.users or self.calls)


async def mark(connection: AsyncConnection, ids: Iterable[str]) -> None:
    """Mark users as stale, in the transaction that changes them.

    Write transactions run one after the other, so change numbers become visible in order and no reader misses one.
    """
    values = [{"user": id, "open": True} for id in ids]
    if values:
        await connection.execute(user_changes.insert(), values)


async def news(connection: AsyncConnection, after: int, most: int) -> tuple[int, list[str]] | None:
    """Return the number of the newest change, and the users that changed after change `after`.

    Return None if there are more than `most` changes, or if some of them were pruned.
    """
    asked = sa.select(sa.func.min(user_changes.c.n), sa.func.max(user_changes.c.n))
    oldest, newest = (await connection.execute(asked)).one()
    if newest is None or newest == after:
        return after, []
    if after < oldest - 1:
        return None
    changed = sa.select(user_changes.c.user).where(user_changes.c.n > after).order_by(user_changes.c.n)
    ids = list(await connection.scalars(changed.limit(most + 1)))
    return None if len(ids) > most else (newest, list(dict.fromkeys(ids)))


async def newest(connection: AsyncConnection) -> int:
    """Return the number of the newest change, 0 if there was none."""
    return await connection.scalar(_NEWEST) or 0


async def anything(connection: AsyncConnection, after: int) -> bool:
    """Return whether users changed after a given change, or calls are to be matched; one statement, no counting."""
    return bool(await connection.scalar(_ANYTHING, {"after": after}))


async def look(connection: AsyncConnection) -> Outstanding:
    """Count the stale users and the calls that are still to be matched."""
    marked, before = await _marked(connection), await walk(connection)
    count = await connection.scalar(sa.select(sa.func.count()).where(unmatched(before))) or 0
    if before is not None:
        count += await connection.scalar(sa.select(sa.func.count()).where(calls.c.leaf < before)) or 0
    return Outstanding(marked, count)


def unmatched(walk: int | None) -> sa.ColumnElement[bool]:
    """Return the condition for unmatched calls, except those that the walk will reach."""
    return ~calls.c.matched if walk is None else sa.and_(~calls.c.matched, calls.c.leaf >= walk)


async def settled(connection: AsyncConnection, id: str) -> bool:
    """Return whether every call has been matched with this user as it is now."""
    if await walk(connection) is not None:
        return False
    if await connection.scalar(sa.select(user_changes.c.n).where(_OPEN, user_changes.c.user == id).limit(1)):
        return False
    return not await connection.scalar(sa.select(calls.c.leaf).where(~calls.c.matched).limit(1))


async def walk(connection: AsyncConnection) -> int | None:
    """Return the leaf that the walk has reached, None if there is no walk."""
    return await connection.scalar(sa.select(matching.c.walk).where(matching.c.id == _ROW))


async def set_walk(connection: AsyncConnection, leaf: int | None) -> None:
    """Store how far the walk has come, None at its end."""
    if not (await connection.execute(matching.update().where(matching.c.id == _ROW).values(walk=leaf))).rowcount:
        await connection.execute(matching.insert(), {"id": _ROW, "walk": leaf})


async def read_as_walk(connection: AsyncConnection) -> bool:
    """Replace the marks of stale users by a walk through all calls if that is less work; return whether it was."""
    marked = await _marked(connection)
    total = await connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(days.c.calls), 0))) or 0
    if not marked or marked * CALLS_A_USER <= total:
        return False
    await set_walk(connection, FROM_THE_NEWEST)
    await connection.execute(user_changes.update().where(_OPEN).values(open=False))
    await _prune(connection)
    return True


async def stale(connection: AsyncConnection) -> str | None:
    """Return the id of a stale user, None if there is none."""
    return await connection.scalar(sa.select(user_changes.c.user).where(_OPEN).order_by(user_changes.c.n).limit(1))


async def fresh(connection: AsyncConnection, id: str, until: int) -> None:
    """Clear the marks of a stale user up to the change `until`."""
    mine = (_OPEN, user_changes.c.user == id, user_changes.c.n <= until)
    await connection.execute(user_changes.update().where(*mine).values(open=False))
    await _prune(connection)


async def _marked(connection: AsyncConnection) -> int:
    asked = sa.select(sa.func.count(sa.distinct(user_changes.c.user))).where(_OPEN)
    return await connection.scalar(asked) or 0


async def _prune(connection: AsyncConnection) -> None:
    """Delete old changes; a reader that missed one loads all users again."""
    old = await newest(connection) - KEPT_CHANGES
    await connection.execute(user_changes.delete().where(~user_changes.c.open, user_changes.c.n < old))


_NEWEST = sa.select(sa.func.max(user_changes.c.n))
_OPEN = user_changes.c.open.is_(True)
_AFTER = sa.bindparam("after", type_=sa.BigInteger)
_ANYTHING = sa.select(
    sa.or_(
        sa.func.coalesce(sa.select(sa.func.max(user_changes.c.n)).scalar_subquery(), _AFTER) != _AFTER,
        sa.exists(sa.select(user_changes.c.n).where(_OPEN)),
        sa.exists(sa.select(calls.c.leaf).where(unmatched(None))),
        sa.exists(sa.select(matching.c.id).where(matching.c.id == _ROW, matching.c.walk.is_not(None))),
    )
)
