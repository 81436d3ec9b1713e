"""Time of tests: a clock that is set, and waiting for what tasks, threads or processes beside a test bring about."""

import asyncio
from collections.abc import Callable
from inspect import isawaitable


async def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something holds, or a coroutine says so; a neighbour may hold this machine up for some seconds."""
    async with asyncio.timeout(seconds):
        while not (await found if isawaitable(found := true()) else found):
            await asyncio.sleep(0.005)


class Clock:
    """A clock that stands until it is set."""

    at = 100.0

    def __call__(self) -> float:
        return self.at
