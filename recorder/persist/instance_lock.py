"""One daemon per data directory: a flock that ends with its holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from recorder.config.model import Settings


@contextmanager
def node_lock(settings: Settings) -> Iterator[bool]:
    """Hold the lock of the data directory; yields False if another process has it."""
    fd = os.open(settings.node.data_dir / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)
