"""`recorder serve` up to the daemon: configuration, lock, and the ports of live calls.

All that comes before anything heavy is imported.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
from pathlib import Path

from recorder import logs
from recorder.early import bind_again, stored_ports
from recorder.early_workers import Crew
from recorder.errors import NotPossible
from recorder.folders import make_folder
from recorder.locking import node_lock
from recorder.notify import listen_fds
from recorder.settings import Settings
from recorder.settings_files import load


def serve(config: Path, *, drain: bool = False) -> int:
    """Run the daemon in this process until SIGTERM or SIGINT; the exit status of `recorder serve`.

    `drain`: a stop ends the calls, whoever keeps the sockets.
    """
    settings = load(config)
    with logs.install(settings.log.level.value) as pipeline:
        raise_descriptors()
        make_folder(settings.node.data_dir, full=True)
        make_folder(settings.node.runtime_dir)  # no worker begins without space for its spool
        with node_lock(settings) as held:
            if not held:
                raise NotPossible(
                    f"Another recorder uses {settings.node.data_dir}.", "Stop it first, or choose another data_dir."
                )
            _run(settings, pipeline, drain=drain)
    return 0


def _run(settings: Settings, pipeline: logs.Pipeline, *, drain: bool) -> None:
    kept = listen_fds(os.environ, os.getpid())
    bound = bind_again(settings.node.runtime_dir, settings.media.bind, stored_ports(kept))
    gc.disable()  # looking through half-made modules for garbage takes a tenth of the start; the daemon enables it

    async def run() -> None:
        logs.watch_loop(asyncio.get_running_loop(), pipeline)
        crew = Crew(settings)
        try:
            await crew.begin()
            from recorder.daemon import Daemon  # half a second of imports; the kernel buffers, the workers start

            daemon = Daemon(settings, logs.get(), kept, bound, crew, drain=drain)
            pipeline.on_held = daemon.metrics.log_suppressed.inc
            await daemon.run()
        finally:
            await crew.stop()

    asyncio.run(run())


def raise_descriptors() -> None:
    """Allow as many descriptors as the hard limit does: a call needs six."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
