"""One worker and one call as recorder.workers sees them."""

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media.drain import journal_of
from media.sockets import Pair
from recorder import wire


@dataclass(slots=True)
class Process:
    """One worker as main sees it."""

    number: int
    pid: int
    control: socket.socket
    raw: Path
    started: float
    last_beat: float
    busy: float = 0.0
    calls: set[str] = field(default_factory=set)
    outbox: deque[tuple[bytes, list[int]]] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    hung: bool = False
    dead: bool = False


@dataclass(slots=True)
class Entry:
    """One call."""

    streams: int
    process: Process | None
    # receive region of the worker that died with a batch of this call in it
    relic: Path | None = None
    pauses: list[tuple[int, int | None]] = field(default_factory=list)
    # what was asked while no worker had the call
    waiting: list[tuple[Any, list[int]]] = field(default_factory=list)
    closing: asyncio.Future[wire.Final] | None = None


def call_of(raw: Path) -> str | None:
    try:
        journal = journal_of(str(raw))
    except OSError:
        return None
    return journal.call if journal else None


def listed(pairs: Mapping[int, Pair]) -> tuple[wire.Sockets, list[int]]:
    """Lay the descriptors of all streams in one row."""
    rows = [(stream, pair.filenos()) for stream, pair in pairs.items()]
    return tuple((stream, len(fds)) for stream, fds in rows), [fd for _, fds in rows for fd in fds]


def unclean(call: str) -> wire.Final:
    return wire.Final(call, "", -1, (), (), False)


def reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
