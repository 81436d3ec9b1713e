"""The first part of `recorder serve`: configuration, lock, and the ports of live calls.

All of it runs before anything heavy is imported: if nobody keeps the sockets over a kill, a call loses audio until its
ports are bound again.
"""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from media.receive.sockets import Pair
from recorder.config.loader import load_for_start
from recorder.config.model import Settings
from recorder.errors import NotPossible, OtherVersion
from recorder.persist import data_formats, instance
from recorder.persist.instance_lock import node_lock
from recorder.persist.object_store import leave_requests
from recorder.runtime.folders import make_folder
from recorder.runtime.sd_notify import Notifier, listen_fds
from recorder.service.listeners import listening_names
from recorder.service.port_rebind import bind_again, stored_ports

SETTLE_SECONDS = 1.0
"""How long a start that failed waits for a service manager whose queue is full."""

SETTLE_AGAIN_SECONDS = 0.05
"""Seconds between two tries."""


def serve(config: Path, *, drain: bool = False) -> int:
    """Run the daemon in this process until SIGTERM or SIGINT; return the exit status of `recorder serve`.

    `drain`: a stop ends the calls even if the service manager keeps the sockets.
    """
    gc.disable()  # scanning half-loaded modules for garbage takes a tenth of the start; the daemon enables it
    notify, kept = Notifier.from_environment(os.environ), listen_fds(os.environ, os.getpid())
    try:
        _serve(config, kept, notify, drain=drain)
    except OtherVersion:
        raise  # another main process takes over at once
    except Exception:
        if not notify.was_ready:
            leave_store(notify, kept)
        raise
    return 0


def leave_store(notify: Notifier, kept: Mapping[str, Sequence[int]]) -> None:
    """Take the listening sockets out of the service manager's store after a start that failed.

    Otherwise they would take connections and requests that nobody answers, and SBCs would not look for another
    recorder. Media sockets stay: they hold what live calls send until a start succeeds.
    """
    for name in listening_names({*kept, *notify.stored_early}):
        notify.remove(name)
    until = time.monotonic() + SETTLE_SECONDS
    while not notify.settle() and notify.present and time.monotonic() < until:
        time.sleep(SETTLE_AGAIN_SECONDS)


def _serve(config: Path, kept: Mapping[str, Sequence[int]], notify: Notifier, *, drain: bool) -> None:
    settings, unusable = load_for_start(config)
    raise_descriptors()
    make_folder(settings.node.data_dir, full=True)
    make_folder(settings.node.runtime_dir, private=True)  # a worker needs space for its spool before it starts
    with node_lock(settings) as held:
        if not held:
            raise NotPossible(
                f"Another recorder is using {settings.node.data_dir}.", "Stop it first, or choose another data_dir."
            )
        instance.make(settings.node.runtime_dir)
        ours = {listener.address.port for listener in settings.sip.listen}
        bound = bind_again(settings.node.runtime_dir, settings.media.bind, stored_ports(kept) | ours)
        data_formats.note_ours(settings.node.data_dir)
        _run(settings, unusable, kept, bound, notify, drain=drain)


def _run(
    settings: Settings, unusable: Mapping[str, Exception], kept: Mapping[str, Sequence[int]],
    bound: Mapping[int, Pair], notify: Notifier, *, drain: bool,
) -> None:  # fmt: skip
    import asyncio

    from recorder.observe import logs
    from recorder.workers.pool import Workers

    async def run() -> None:
        logs.watch_loop(asyncio.get_running_loop(), pipeline.log)
        workers = Workers.configured(settings)
        try:
            await workers.begin()
            from recorder.service.daemon import Daemon  # meanwhile the kernel buffers packets and the workers start

            daemon = Daemon(settings, logs.get(), kept, bound, workers, drain=drain, notify=notify, unusable=unusable)
            pipeline.on_held = daemon.metrics.log_suppressed.inc
            await daemon.run()
        finally:
            await workers.stop()

    with logs.install(settings.log.level.value) as pipeline:
        asyncio.run(run())
    leave_requests(settings)


def raise_descriptors() -> None:
    """Raise the limit of open descriptors to the hard limit: a call needs six."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
