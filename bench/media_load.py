"""The load for benches of media: packets of one codec to many streams, and the CPU time of the process under test.

`python -m bench.media_load CODEC SUITE STREAMS SECONDS PORT` is the sender, which runs in its own process.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.flows import FLOWS, Flow
from media.srtp.context import SUITES, Engine

KEY = bytes(range(64))
BASE = 21000
"""Port of the first stream; each stream gets two ports and uses the even one."""
SLOTS = 10
"""Number of parts that a pace is divided into, so that not all streams send at once."""
WARM = 2.5
"""Seconds of packets before the measurement begins: the first batches take the slow path."""


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint), ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("length", ctypes.c_uint), ("pad", ctypes.c_uint),
    )  # fmt: skip


def key_of(suite: str) -> bytes:
    """Return the key that all streams share, so that each packet is encrypted once and sent to all of them."""
    return KEY[: SUITES[suite].key + SUITES[suite].salt]


class Sender:
    """A sender of the same packets to many ports with few system calls."""

    def __init__(self, streams: int, base: int = BASE) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._names = ctypes.create_string_buffer(16 * streams)
        self._vectors, self._messages = (_Iovec * streams)(), (_Message * streams)()
        address = socket.inet_aton("127.0.0.1") + bytes(8)
        for i in range(streams):
            name = (2).to_bytes(2, "little") + (base + 2 * i).to_bytes(2, "big") + address
            ctypes.memmove(ctypes.addressof(self._names) + 16 * i, name, 16)
            self._messages[i].name, self._messages[i].name_length = ctypes.addressof(self._names) + 16 * i, 16
            self._messages[i].iov, self._messages[i].iov_count = ctypes.addressof(self._vectors) + 16 * i, 1
        self._sendmmsg = ctypes.CDLL(None).sendmmsg

    def send(self, packet: ctypes.Array[ctypes.c_char], low: int, high: int) -> None:
        """Send a packet to the streams from `low` up to but not including `high`."""
        address, size = ctypes.addressof(packet), len(packet) - 1
        for i in range(low, high):
            self._vectors[i].base, self._vectors[i].length = address, size
        while low < high:
            sent = self._sendmmsg(self._socket.fileno(), ctypes.byref(self._messages, low * 64), high - low, 0)
            if sent <= 0:
                raise SystemExit("the sender failed")
            low += sent


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@dataclass(frozen=True)
class Spent:
    """CPU time of a process under a load."""

    cpu: float
    """Seconds on a processor."""
    length: float
    """Seconds from the start of the measurement to the last packet."""
    before: int
    """Packets that were stored when the measurement began."""


@dataclass(frozen=True)
class Load:
    """The load of one row: what all its streams are sent."""

    flow: Flow
    suite: str
    streams: int
    seconds: float
    base: int = BASE

    @property
    def packets(self) -> int:
        """Return the number of packets of all streams."""
        return sum(map(len, self.flow.groups(self.seconds))) * self.streams

    async def spend(self, pid: int, tick: float, stored: Callable[[], Awaitable[int]]) -> Spent:
        """Send everything; return the CPU time of process `pid` from WARM seconds on until two ticks after the end.

        `stored` returns how many packets the process has stored. SystemExit if the sender failed.
        """
        words = [self.flow.name, self.suite, *map(str, (self.streams, self.seconds, self.base))]
        sender = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.media_load", *words, stdout=asyncio.subprocess.PIPE
        )
        try:
            if sender.stdout is not None:
                await sender.stdout.readline()
            await asyncio.sleep(WARM)
            before = await stored()
            began, start = cpu(pid), time.monotonic()
            if await sender.wait():
                raise SystemExit("VOID: the sender failed")
        finally:
            if sender.returncode is None:  # the process under test is gone
                sender.kill()
        await asyncio.sleep(2 * tick)
        return Spent(cpu(pid) - began, time.monotonic() - start - 2 * tick, before)


def send(load: Load) -> None:
    """Send every stream its packets, a tenth of the streams in each tenth of the pace."""
    engine = Engine(SUITES[load.suite], key_of(load.suite), inbound=False)
    groups = [
        [ctypes.create_string_buffer(engine.protect(packet)) for packet in group]
        for group in load.flow.groups(load.seconds)
    ]
    sender, due = Sender(load.streams, load.base), time.monotonic()
    bounds = [load.streams * i // SLOTS for i in range(SLOTS + 1)]
    print("sending", flush=True)  # the measuring process counts seconds from here
    for group in groups:
        for low, high in pairwise(bounds):
            for packet in group:
                sender.send(packet, low, high)
            due += load.flow.pace / SLOTS
            time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    send(Load(FLOWS[sys.argv[1]], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
