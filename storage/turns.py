"""Turns: which of several nodes does a job that one node does for all; a node that is alone has every turn.

    async with customer.turns.turn("retention") as turn:
        if turn is None:            another node does the job, or has done it lately
            return
        …                           do only what can be repeated: if this node dies, another one starts again
        turn.rest = 3600.0          seconds for which no other node gets the turn afterwards

storage.nodes.leases has the turns of several nodes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # slow to import, and recording does not need it
    from sqlalchemy.ext.asyncio import AsyncConnection

Still = Callable[["AsyncConnection"], Awaitable[bool]]
"""Returns, in a writing transaction, whether this node still has the turn; if not, the job must change nothing."""


async def always(connection: AsyncConnection) -> bool:
    """Return True."""
    return True


@dataclass(slots=True)
class Turn:
    """The turn of this node."""

    still: Still = always
    """Check to make before any effect that must not happen after the turn has ended."""
    rest: float = 0.0
    """Seconds after the end of the turn during which no other node gets it."""


class Turns(Protocol):
    """The turns of one customer's jobs; every method may raise StorageError."""

    async def hold(self, job: str, seconds: float) -> bool:
        """Take or extend this node's turn for `seconds`; return False if another node has it."""
        ...

    def turn(self, job: str) -> AbstractAsyncContextManager[Turn | None]:
        """Hold a turn while the block runs; yield None if another node has it."""
        ...


class Alone:
    """The turns of a node that shares its database with no other."""

    async def hold(self, job: str, seconds: float) -> bool:
        """Return True."""
        return True

    @asynccontextmanager
    async def turn(self, job: str) -> AsyncIterator[Turn | None]:
        """Yield a turn."""
        yield Turn()
