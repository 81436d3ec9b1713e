"""A media worker without a process of its own."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from media.receive.recvmmsg import Region
from recorder.workers.process import Worker


@contextmanager
def alone(folder: Path) -> Iterator[tuple[Worker, socket.socket]]:
    """Give a worker in this process and main's end of its control socket."""
    control, main = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with control, main:
        yield Worker(control, Region(str(folder / "raw")), 1.0), main
