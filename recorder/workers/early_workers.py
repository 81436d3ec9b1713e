"""The media workers, started while the daemon that will command them is still being imported."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from recorder.config.model import Settings
from recorder.errors import NotPossible
from recorder.workers.messages import WorkerDied, WorkerEvent
from recorder.workers.pool import Workers


class Crew:
    """The media workers, started before the daemon that will command them is imported."""

    def __init__(self, settings: Settings) -> None:
        media = settings.media
        self.workers = Workers(
            worker_count(media.workers), settings.node.runtime_dir, self._hear, tick=media.tick_ms / 1000
        )
        self._listener: Callable[[WorkerEvent], None] | None = None
        self._missed: list[WorkerEvent] = []
        self._starting: asyncio.Future[None] | None = None

    def _hear(self, event: WorkerEvent) -> None:
        if self._listener:
            self._listener(event)
        elif isinstance(event, WorkerDied):
            self._missed.append(event)

    def listen(self, listener: Callable[[WorkerEvent], None]) -> None:
        """Have everything told that the workers report, and which of them died before anybody could listen."""
        self._listener = listener
        for event in self._missed:
            listener(event)
        self._missed.clear()

    async def begin(self) -> None:
        """Start the processes and do not wait for them."""
        self._starting = asyncio.ensure_future(self.workers.start())
        await asyncio.sleep(0)

    async def ready(self) -> None:
        """Wait until all workers run; raise NotPossible if one does not."""
        try:
            if self._starting:
                await self._starting
        except (OSError, TimeoutError):
            raise NotPossible(
                "The media workers do not start.", "Is there memory left, and may processes be started?"
            ) from None

    async def stop(self) -> None:
        """End the processes."""
        if self._starting:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self.workers.stop()


def worker_count(asked: int) -> int:
    """Return how many media workers to run: one per processor core but one, at least one, unless configured."""
    return asked or max(1, len(os.sched_getaffinity(0)) - 1)
