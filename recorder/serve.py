"""`recorder serve` up to the daemon: configuration, lock, and the ports of live calls before anything heavy is imported."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

from recorder import logs
from recorder.early import bind_again, stored_ports
from recorder.errors import NotPossible
from recorder.locking import node_lock
from recorder.notify import listen_fds
from recorder.settings_files import load


def serve(config: Path) -> int:
    """Run the daemon in this process until SIGTERM or SIGINT; the exit status of `recorder serve`."""
    settings = load(config)
    pipeline = logs.install(settings.log.level.value)
    raise_descriptors()
    for folder in (settings.node.data_dir, settings.node.runtime_dir):
        make_folder(folder)
    with node_lock(settings) as held:
        if not held:
            raise NotPossible(f"Another recorder uses {settings.node.data_dir}.", "Stop it first, or choose another data_dir.")
        kept = listen_fds(os.environ, os.getpid())
        bound = bind_again(settings.node.runtime_dir, settings.media.bind, stored_ports(kept))
        from recorder.daemon import Daemon  # half a second of imports, in which the kernel already buffers

        daemon = Daemon(settings, logs.get(), kept, bound)

        async def run() -> None:
            logs.watch_loop(asyncio.get_running_loop(), pipeline)
            await daemon.run()

        asyncio.run(run())
    return 0


def raise_descriptors() -> None:
    """Allow as many descriptors as the hard limit does: a call needs six."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def make_folder(folder: Path) -> None:
    """Make a folder of ours if it is missing; a clear sentence if it cannot be used."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise NotPossible(f"{folder} cannot be written: {error.strerror}.", "Give it to the recorder's user, or free some space.") from None
