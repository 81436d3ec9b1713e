"""Deletion of inactive users to whom no recording refers any more, if the customer has configured it."""

from collections.abc import Awaitable, Callable

import sqlalchemy as sa

from storage.database.database import Database
from storage.database.schema import erasures
from storage.directory import match_queue
from storage.directory.user import UserState
from storage.directory.user_store import Mapped, Referred, Users

PAGE = 50  # users checked between two pauses

Reason = tuple[int, int]
"""The state that a round depends on: time of the last erasure, and number of the newest change of users."""


async def reason(database: Database) -> Reason:
    """Return a value that must change before another round can find anything."""
    async with database.reading() as connection:
        erased = await connection.scalar(sa.select(sa.func.max(erasures.c.done_at))) or 0
        return erased, await match_queue.newest(connection)


async def purge(users: Users, told: Callable[[str], Awaitable[None]], pause: Callable[[], Awaitable[object]]) -> int:
    """Delete the users that may be deleted; return how many. `told` writes the audit log first. Raises StorageError."""
    count = 0
    more: str | None = ""
    while more is not None:
        found, more = await users.listed(PAGE, more, UserState.INACTIVE)
        for user in found:
            count += await _gone(users, user.id, told)
        await pause()
    return count


async def _gone(users: Users, id: str, told: Callable[[str], Awaitable[None]]) -> bool:
    try:
        return await users.delete(id, lambda: told(id))
    except (Mapped, Referred):
        return False
