"""A private network that loses, repeats and reorders packets: a process between two namespaces; needs root.

    with lossy(Weather(loss=0.05)) as network:
        with network.inside("server"): …      # this thread, and what it starts, is in that namespace
        with network.inside("client"): …

The process is `python -m tests.daemon.network FD FD WEATHER`; it carries IP packets from one TUN device to the other.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.capabilities import impossible

ROOT = Path(__file__).parents[2]
SERVER, CLIENT = "192.0.2.2", "192.0.2.1"
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
CLONE_NEWNET = 0x40000000
MEDIA = 20_000
UDP = 17
GRACE = 0.06
"""Seconds that the simulator leaves between its last packet and the hold or BYE that follows."""


@dataclass(frozen=True)
class NetworkFaults:
    """Probabilities of what happens to a packet, and the longest delay of a late one in seconds."""

    loss: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    by: float = 0.06
    seed: int = 7


@dataclass
class Network:
    """The two namespaces and the process between them."""

    name: str
    process: subprocess.Popen[bytes]

    @contextmanager
    def inside(self, place: str) -> Iterator[None]:
        """Move this thread to a namespace, with all threads and processes that it starts there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}-{place}", os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(home)
            os.close(home)
            os.close(there)

    def lost(self) -> dict[int, int]:
        """End the network; return the number of RTP packets that never reached each port."""
        out, _ = self.process.communicate(b"over\n", timeout=60)
        return {int(port): count for port, count in json.loads(out).items()}


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def lossy(weather: NetworkFaults) -> Iterator[Network]:
    """Make the network; skip the test, with the reason, if that is impossible."""
    if os.geteuid():
        pytest.skip("only root can make network namespaces")
    name, ends = f"rec{os.getpid()}", []
    try:
        for place, mine, theirs in (("server", SERVER, CLIENT), ("client", CLIENT, SERVER)):
            try:
                ends.append(_place(f"{name}-{place}", f"{name[:9]}{place[0]}", mine, theirs))
            except (OSError, subprocess.CalledProcessError) as problem:
                impossible(f"network namespaces with TUN devices cannot be made here ({type(problem).__name__})")
        line = [sys.executable, "-m", "tests.daemon.network", *map(str, ends), json.dumps(asdict(weather))]
        pipe = subprocess.PIPE
        process = subprocess.Popen(line, cwd=ROOT, pass_fds=ends, stdin=pipe, stdout=pipe)
        try:
            yield Network(name, process)
        finally:
            process.kill()
            process.communicate()
    finally:
        for end in ends:
            os.close(end)
        for place in ("server", "client"):
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                _ip("netns", "del", f"{name}-{place}")


def _place(name: str, device: str, mine: str, theirs: str) -> int:
    """Make a namespace whose only way out is a TUN device; return the device's descriptor."""
    _ip("netns", "add", name)
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    _ip("link", "set", device, "netns", name)
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "addr", "add", f"{mine}/32", "peer", theirs, "dev", device)
    _ip("-n", name, "link", "set", device, "txqueuelen", "20000")  # packets that wait while the process is stalled
    _ip("-n", name, "link", "set", device, "up")
    _ip("-n", name, "route", "add", "default", "dev", device)
    return descriptor


class Carrier:
    """The carrier of the packets between both devices."""

    def __init__(self, ends: tuple[int, int], weather: NetworkFaults) -> None:
        self._other = {ends[0]: ends[1], ends[1]: ends[0]}
        self._weather = weather
        self._chance = random.Random(weather.seed)
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._number = 0
        self.sent: set[tuple[int, int, int]] = set()
        self.came: set[tuple[int, int, int]] = set()

    def run(self, stop: int) -> None:
        """Carry packets until `stop` is readable."""
        while True:
            pause = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            ready, _, _ = select.select([*self._other, stop], [], [], pause)
            if stop in ready:
                return
            for end in ready:
                self._take(end, os.read(end, 65536))
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(self._waiting)
                with contextlib.suppress(OSError):
                    os.write(end, packet)

    def _take(self, end: int, packet: bytes) -> None:
        name = _rtp(packet)
        if name:
            self.sent.add(name)
        chance, weather = self._chance, self._weather
        for _ in range(2 if chance.random() < weather.twice else 1):
            if chance.random() < weather.loss:
                continue
            if name:
                self.came.add(name)
            late = chance.uniform(0, weather.by) if chance.random() < weather.late else 0.0
            self._number += 1
            due = time.monotonic() + late
            if not name and weather.by <= GRACE:
                due = self._behind_audio(due, self._other[end])
            heapq.heappush(self._waiting, (due, self._number, self._other[end], packet))

    def _behind_audio(self, due: float, end: int) -> float:
        """Return the time to deliver a BYE, not before earlier audio: after a stall, both are read at once."""
        return max([due, *(moment for moment, _, to, packet in self._waiting if to == end and _rtp(packet))])


def _rtp(packet: bytes) -> tuple[int, int, int] | None:
    """Return port, SSRC and sequence number of an RTP packet, None for any other."""
    if packet[0] != 0x45 or packet[9] != UDP or len(packet) < 40 or packet[28] >> 6 != 2:
        return None
    port, sequence = int.from_bytes(packet[22:24]), int.from_bytes(packet[30:32])
    return (port, int.from_bytes(packet[36:40]), sequence) if port >= MEDIA and not port % 2 else None


def main(ends: tuple[int, int], weather: NetworkFaults) -> None:
    """Carry packets until a line is read; then print the losses."""
    carrier = Carrier(ends, weather)
    carrier.run(sys.stdin.fileno())
    lost: dict[int, int] = {}
    for port, _, _ in carrier.sent - carrier.came:
        lost[port] = lost.get(port, 0) + 1
    print(json.dumps(lost))


if __name__ == "__main__":
    main((int(sys.argv[1]), int(sys.argv[2])), NetworkFaults(**json.loads(sys.argv[3])))
