"""A stand-in for systemd's descriptor store and Type=notify, for machines without systemd."""

from __future__ import annotations

import array
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO

MOST = 253
"""Descriptors in one message (SCM_MAX_FD)."""

LAUNCH = """
import fcntl, os, sys
names, given, line = sys.argv[1], [int(word) for word in sys.argv[2].split()], sys.argv[3:]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3 + 2 * len(given)) for fd in given]
for fd in given:
    os.close(fd)
os.closerange(3, min(high, default=3))
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=names)
os.execv(line[0], line)
"""
"""A program that puts the descriptors where sd_listen_fds(3) expects them and executes the service."""


class DescriptorStore:
    """A store for the descriptors that a service sends with FDSTORE=1, which its next process gets."""

    def __init__(self, path: Path) -> None:
        """Listen for the service at a path."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._over = False
        self._lock = threading.Lock()
        self._kept: list[tuple[str, int]] = []
        self._heard: list[str] = []
        self._thread = threading.Thread(target=self._run, name="descriptor-store")
        self._thread.start()

    def start(
        self, line: Sequence[str], log: IO[bytes], more: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        """Start the service with the stored descriptors; the store keeps its own copies, as systemd does.

        `more` adds to its environment. The last messages of the former process are read first, as systemd reads its
        socket before it handles the exit of a process.
        """
        environment = {**os.environ, **more, "NOTIFY_SOCKET": str(self._path)}
        with self._lock:
            self._hear()
            if not self._kept:
                return subprocess.Popen(line, stdout=log, stderr=log, env=environment)
            names, given = zip(*self._kept, strict=True)
            launch = [sys.executable, "-S", "-E", "-c", LAUNCH, ":".join(names), " ".join(map(str, given))]
            return subprocess.Popen([*launch, *line], stdout=log, stderr=log, env=environment, pass_fds=given)

    def heard(self, line: str) -> int:
        """Return how often the service sent a line."""
        with self._lock:
            self._hear()
            return self._heard.count(line)

    def lines(self) -> list[str]:
        """Return all lines that the service sent."""
        with self._lock:
            self._hear()
            return list(self._heard)

    def names(self) -> list[str]:
        """Return the names of the stored descriptors, one for each."""
        with self._lock:
            self._hear()
            return [name for name, _ in self._kept]

    def clear(self) -> None:
        """Drop all descriptors, as if the store were disabled."""
        with self._lock:
            for _, descriptor in self._kept:
                os.close(descriptor)
            self._kept.clear()

    def close(self) -> None:
        """Stop listening and close everything."""
        self._over = True
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()
        self._socket.close()
        self.clear()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while not self._over:
            poll.poll()
            with self._lock:
                self._hear()

    def _hear(self) -> None:
        """Handle all messages that have arrived."""
        while True:
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(
                    65536, socket.CMSG_SPACE(4 * MOST), socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return
            if flags & socket.MSG_CTRUNC:
                raise RuntimeError("descriptors were lost on their way into the store: too many are open here")
            given = array.array("i")
            for _, _, content in ancillary:
                given.frombytes(content)
            self._take(data.decode().split("\n"), list(given))

    def _take(self, lines: list[str], given: list[int]) -> None:
        self._heard += lines
        words = dict(line.partition("=")[::2] for line in lines)
        name = words.get("FDNAME", "stored")
        if words.get("FDSTOREREMOVE") == "1":
            self._drop(name)
        keep = given if words.get("FDSTORE") == "1" else []
        known = {_identity(descriptor) for _, descriptor in self._kept}
        for descriptor in given:
            if descriptor in keep and _identity(descriptor) not in known:  # like systemd, keep the same one only once
                self._kept.append((name, descriptor))
            else:
                os.close(descriptor)

    def _drop(self, name: str) -> None:
        for kept, descriptor in self._kept:
            if kept == name:
                os.close(descriptor)
        self._kept = [entry for entry in self._kept if entry[0] != name]


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


@contextmanager
def descriptor_store(folder: Path) -> Iterator[DescriptorStore]:
    """Run a store that listens in a folder."""
    store = DescriptorStore(folder / "notify")
    try:
        yield store
    finally:
        store.close()
