"""The only place that starts asyncio tasks: each has a name and an owner, is awaited, and cannot fail unnoticed.

Also the loops that tasks run: `retry` until something succeeds, `repeat` for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
Report = Callable[[str, BaseException], None]  # name of the task, what it failed with
STOP_SECONDS = 5.0  # how long cancelled tasks may take to clean up; systemd's stop timeout is much longer


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until an event is set, at most so many seconds; return whether it is.

    Not by asyncio.wait_for: that of Python 3.11 loses a cancellation that comes together with the event.
    """
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


async def retry(step: Callable[[], Awaitable[T]], failed: Callable[[Exception], float]) -> T:
    """Repeat a step until it succeeds; return its result.

    `failed` takes each failure and returns the seconds until the next try, or raises to give up.
    """
    while True:
        try:
            return await step()
        except Exception as problem:
            pause = failed(problem)
        await asyncio.sleep(pause)


async def repeat(turn: Callable[[], Awaitable[None]], seconds: float, failed: Callable[[Exception], None]) -> NoReturn:
    """Do something for ever, with a pause after each turn; `failed` takes each failure, which ends nothing."""
    while True:
        try:
            await turn()
        except Exception as problem:
            failed(problem)
        await asyncio.sleep(seconds)


def start_awaited(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Run a coroutine as a task that the caller awaits, and so learns how it ends."""
    return asyncio.get_running_loop().create_task(work, name=name)


class Tasks:
    """The tasks of one owner. A failure is reported and does not stop the other tasks."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run a coroutine as a task; `name` says what it is for and holds nothing personal.

        Raises RuntimeError after `close`, because nobody would await it.
        """
        if self._closed:
            work.close()
            raise RuntimeError("the owner of this task has closed")
        task = start_awaited(work, name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._running)

    def names(self) -> list[str]:
        """Return the names of the running tasks."""
        return sorted(task.get_name() for task in self._running)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """Forget a task that ended and report its failure."""
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._report(task.get_name(), error)

    async def finish(self) -> None:
        """Wait until every task has ended by itself."""
        while self._running:
            await asyncio.wait(self._running)

    async def close(self, seconds: float = STOP_SECONDS) -> list[str]:
        """Cancel everything and wait; return the names of tasks that did not end in time (a bug worth a log line)."""
        self._closed = True
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        return self.names()
