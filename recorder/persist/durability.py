"""Let the event loop wait for the disk: many calls that end at about the same time share one sync."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial

from storage.vault.group_sync import Syncer

GATHER_SECONDS = 0.005
"""Time in which others may join: a sync costs the daemon and the disk the same for one call as for fifty."""

PAUSE_SECONDS = 0.05
"""Time between the starts of two syncs: while the file system commits, whoever creates a file waits for it. A client
repeats its BYE after 0.5 s at the earliest (RFC 3261, T1).
"""

_Waiter = tuple[asyncio.Future[None], int]
"""A waiting caller, and the epoch in which it wrote."""


class Durability:
    """Asks the sync thread once for all who wait."""

    def __init__(self, syncer: Syncer) -> None:
        self._syncer = syncer
        self._waiting: list[_Waiter] = []
        self._next = 0.0

    def wait(self, epoch: int) -> asyncio.Future[None]:
        """Return a future that is done when everything written before this call is durable.

        It fails with SyncFailed if that sync failed, or any sync since `epoch`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_at(max(loop.time() + GATHER_SECONDS, self._next), self._begin, loop)
        self._waiting.append((future, epoch))
        return future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting, self._waiting = self._waiting, []
        self._next = loop.time() + PAUSE_SECONDS
        for epoch in {epoch for _, epoch in waiting}:
            group = [future for future, wrote in waiting if wrote == epoch]
            self._syncer.wait(epoch=epoch).add_done_callback(partial(_hand_over, loop, group))


def _hand_over(loop: asyncio.AbstractEventLoop, group: list[asyncio.Future[None]], done: Future[None]) -> None:
    """Pass the sync thread's result to the event loop; a closed loop has nobody waiting."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(_answer, group, done.exception())


def _answer(group: list[asyncio.Future[None]], problem: BaseException | None) -> None:
    for future in group:
        if future.done():
            continue  # its call was given up meanwhile
        if problem:
            future.set_exception(problem)
        else:
            future.set_result(None)
