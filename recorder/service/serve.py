"""The first part of `recorder serve`: configuration, lock, and the ports of live calls.

All of it runs before anything heavy is imported: if nobody keeps the sockets over a kill, a call loses audio until its
ports are bound again.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path

from media.receive.sockets import Pair
from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.errors import NotPossible
from recorder.persist.instance_lock import node_lock
from recorder.runtime.folders import make_folder
from recorder.runtime.sd_notify import listen_fds
from recorder.service.port_rebind import bind_again, stored_ports


def serve(config: Path, *, drain: bool = False) -> int:
    """Run the daemon in this process until SIGTERM or SIGINT; return the exit status of `recorder serve`.

    `drain`: a stop ends the calls even if the service manager keeps the sockets.
    """
    gc.disable()  # scanning half-loaded modules for garbage takes a tenth of the start; the daemon enables it
    settings = load(config, start=True)
    raise_descriptors()
    make_folder(settings.node.data_dir, full=True)
    make_folder(settings.node.runtime_dir, private=True)  # a worker needs space for its spool before it starts
    with node_lock(settings) as held:
        if not held:
            raise NotPossible(
                f"Another recorder is using {settings.node.data_dir}.", "Stop it first, or choose another data_dir."
            )
        kept = listen_fds(os.environ, os.getpid())
        ours = {listener.address.port for listener in settings.sip.listen}
        bound = bind_again(settings.node.runtime_dir, settings.media.bind, stored_ports(kept) | ours)
        _run(settings, kept, bound, drain=drain)
    return 0


def _run(settings: Settings, kept: Mapping[str, Sequence[int]], bound: Mapping[int, Pair], *, drain: bool) -> None:
    import asyncio

    from recorder.observe import logs
    from recorder.workers.pool import Workers

    async def run() -> None:
        logs.watch_loop(asyncio.get_running_loop(), pipeline)
        workers = Workers.configured(settings)
        try:
            await workers.begin()
            from recorder.service.daemon import Daemon  # meanwhile the kernel buffers packets and the workers start

            daemon = Daemon(settings, logs.get(), kept, bound, workers, drain=drain)
            pipeline.on_held = daemon.metrics.log_suppressed.inc
            await daemon.run()
        finally:
            await workers.stop()

    with logs.install(settings.log.level.value) as pipeline:
        asyncio.run(run())


def raise_descriptors() -> None:
    """Raise the limit of open descriptors to the hard limit: a call needs six."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
