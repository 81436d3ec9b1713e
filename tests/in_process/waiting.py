"""A clock for tests to set, and waiting for the effects of other tasks, threads or processes."""

import asyncio
from collections.abc import Callable
from inspect import isawaitable


async def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a function or coroutine returns something true; other load may stall this machine for seconds."""
    async with asyncio.timeout(seconds):
        while not (await found if isawaitable(found := true()) else found):
            await asyncio.sleep(0.005)


class Clock:
    """A clock that only moves when it is set."""

    at = 100.0

    def __call__(self) -> float:
        return self.at
