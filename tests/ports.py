"""Ports for tests: each process of a test run allocates from its own range."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import cycle, islice


def spans(first: int, end: int, width: int) -> Iterator[int]:
    """Yield the first ports of consecutive spans, for ever.

    Each process of pytest-xdist has its own part of the range. Where it begins in that part depends on its process id,
    so that concurrent runs begin far apart.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    of = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    each = (end - first) // width // of
    own = range(first + number * each * width, first + (number + 1) * each * width, width)
    return islice(cycle(own), 61 * os.getpid() % len(own), None)


def unused(ports: Iterator[int]) -> int:
    """Return the next port that is currently free over both TCP and UDP."""
    while True:
        port = next(ports)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
