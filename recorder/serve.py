"""`recorder serve` up to the daemon: configuration, lock, and the ports of live calls.

All that comes before anything heavy is imported.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
from collections.abc import Callable
from pathlib import Path

from recorder import logs
from recorder.early import bind_again, stored_ports
from recorder.errors import NotPossible
from recorder.folders import make_folder
from recorder.locking import node_lock
from recorder.notify import listen_fds
from recorder.settings import Settings
from recorder.settings_files import load
from recorder.wire import WorkerEvent
from recorder.workers import Workers


def serve(config: Path) -> int:
    """Run the daemon in this process until SIGTERM or SIGINT; the exit status of `recorder serve`."""
    settings = load(config)
    with logs.install(settings.log.level.value) as pipeline:
        raise_descriptors()
        for folder in (settings.node.data_dir, settings.node.runtime_dir):
            make_folder(folder)
        with node_lock(settings) as held:
            if not held:
                raise NotPossible(
                    f"Another recorder uses {settings.node.data_dir}.", "Stop it first, or choose another data_dir."
                )
            _run(settings, pipeline)
    return 0


def _run(settings: Settings, pipeline: logs.Pipeline) -> None:
    kept = listen_fds(os.environ, os.getpid())
    bound = bind_again(settings.node.runtime_dir, settings.media.bind, stored_ports(kept))
    gc.disable()  # looking through half-made modules for garbage takes a tenth of the start; the daemon enables it

    async def run() -> None:
        logs.watch_loop(asyncio.get_running_loop(), pipeline)
        crew = Crew(settings)
        try:
            await crew.begin()
            from recorder.daemon import Daemon  # half a second of imports; the kernel buffers, the workers start

            await Daemon(settings, logs.get(), kept, bound, crew).run()
        finally:
            await crew.stop()

    asyncio.run(run())


class Crew:
    """The media workers, started before the daemon that will command them is imported."""

    def __init__(self, settings: Settings) -> None:
        media = settings.media
        self.workers = Workers(
            worker_count(media.workers), settings.node.runtime_dir, self._hear, tick=media.tick_ms / 1000
        )
        self.listener: Callable[[WorkerEvent], None] | None = None
        self._starting: asyncio.Future[None] | None = None

    def _hear(self, event: WorkerEvent) -> None:
        if self.listener:
            self.listener(event)

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


def raise_descriptors() -> None:
    """Allow as many descriptors as the hard limit does: a call needs six."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
