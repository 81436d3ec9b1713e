"""CPU per packet of one media worker alone, by codec and crypto suite, and what its calls take on the disk.

Run `python -m bench.media_plane [--calls 200] [--seconds 20] [--codecs all] [--suites SUITE,SUITE]`.

A second process sends; the worker is the real one, its CPU time that of the kernel's books (user and system).
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench import processes
from bench.flows import FLOWS, Flow
from media import sockets
from media.spec import StreamSpec
from media.srtp import SUITES, LibEngine
from recorder import output, wire
from recorder.workers import Workers
from storage.container import MEDIA_SEGMENT, new_part

KEY = bytes(range(64))
BASE = 21000
SLOTS = 10
"""Into how many parts a pace is divided, so that not all streams send at once."""
WARM = 2.5
"""Seconds before the measurement begins: the sender starts, the first batches take the slow path."""
HEADER = ("codec", "suite", "calls", "packets", "us/packet", "us/call and s", "calls/core", "lost", "disk x payload")


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint), ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("length", ctypes.c_uint), ("pad", ctypes.c_uint),
    )  # fmt: skip


def key_of(suite: str) -> bytes:
    """Give the one key of all streams: so each packet is protected once and sent to all of them."""
    return KEY[: SUITES[suite].key + SUITES[suite].salt]


class Sender:
    """Sends the same packets to many ports with few system calls."""

    def __init__(self, streams: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._names = ctypes.create_string_buffer(16 * streams)
        self._vectors, self._messages = (_Iovec * streams)(), (_Message * streams)()
        address = socket.inet_aton("127.0.0.1") + bytes(8)
        for i in range(streams):
            name = (2).to_bytes(2, "little") + (BASE + 2 * i).to_bytes(2, "big") + address
            ctypes.memmove(ctypes.addressof(self._names) + 16 * i, name, 16)
            self._messages[i].name, self._messages[i].name_length = ctypes.addressof(self._names) + 16 * i, 16
            self._messages[i].iov, self._messages[i].iov_count = ctypes.addressof(self._vectors) + 16 * i, 1
        self._sendmmsg = ctypes.CDLL(None).sendmmsg

    def send(self, packet: ctypes.Array[ctypes.c_char], low: int, high: int) -> None:
        """Send a packet to the streams from `low` to before `high`."""
        address, size = ctypes.addressof(packet), len(packet) - 1
        for i in range(low, high):
            self._vectors[i].base, self._vectors[i].length = address, size
        while low < high:
            sent = self._sendmmsg(self._socket.fileno(), ctypes.byref(self._messages, low * 64), high - low, 0)
            if sent <= 0:
                raise SystemExit("the sender failed")
            low += sent


def load(flow: Flow, suite: str, streams: int, seconds: float) -> None:
    """Send every stream its packets, a tenth of the streams in each tenth of the pace."""
    engine = LibEngine(SUITES[suite], key_of(suite), inbound=False)
    groups = [[ctypes.create_string_buffer(engine.protect(p)) for p in group] for group in flow.groups(seconds)]
    sender, due = Sender(streams), time.monotonic()
    bounds = [streams * i // SLOTS for i in range(SLOTS + 1)]
    for group in groups:
        for low, high in pairwise(bounds):
            for packet in group:
                sender.send(packet, low, high)
            due += flow.pace / SLOTS
            time.sleep(max(0.0, due - time.monotonic()))


def cpu(pid: int) -> float:
    """Give the seconds a process was on a processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@dataclass(frozen=True)
class Plan:
    """One row."""

    flow: Flow
    suite: str
    calls: int
    seconds: float
    tick: float


def _add(workers: Workers, plan: Plan, number: int, pairs: Sequence[sockets.Pair], folder: Path) -> None:
    """Give the worker one call."""
    header, secret = new_part(os.urandom(32), b"bench", MEDIA_SEGMENT, os.urandom)
    part = os.open(folder / f"{number}.m1", os.O_CREAT | os.O_WRONLY, 0o600)
    spool = os.open(folder / f"run/spool/{number}", os.O_CREAT | os.O_RDWR, 0o600)
    os.write(part, header)
    key = key_of(plan.suite)
    specs = tuple(
        StreamSpec(s, plan.suite, key, own_key=key, payloads=plan.flow.payloads) for s in range(plan.flow.streams)
    )
    new = wire.NewCall(f"{number:036}", wire.Part("m1", secret.key, secret.prefix, secret.segment), specs)
    workers.add(new, dict(enumerate(pairs)), part, spool)
    os.close(part)
    os.close(spool)


async def measure(plan: Plan, folder: Path) -> tuple[object, ...]:
    """Run one load and give its row."""
    faults: list[object] = []
    workers = Workers(
        1,
        folder / "run",
        lambda event: faults.append(event) if isinstance(event, wire.WorkerDied | wire.CallFault) else None,
        plan.tick,
    )
    await workers.start()
    (folder / "run/spool").mkdir()
    streams = plan.flow.streams
    pairs = [sockets.open_pair("127.0.0.1", BASE + 2 * i, rtcp=False) for i in range(streams * plan.calls)]
    for number in range(plan.calls):
        _add(workers, plan, number, pairs[streams * number : streams * (number + 1)], folder)
    try:
        return await _loaded(workers, plan, folder)
    finally:
        await workers.stop()
        for pair in pairs:
            pair.close()
        if faults:
            raise SystemExit(f"VOID: {faults[0]}")


async def _loaded(workers: Workers, plan: Plan, folder: Path) -> tuple[object, ...]:
    names, pid = [f"{n:036}" for n in range(plan.calls)], workers._processes[0].pid
    await workers.snapshot(names[-1])
    words = ["load", plan.flow.name, plan.suite, str(plan.flow.streams * plan.calls), str(plan.seconds)]
    sender = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.media_plane", *words)
    await asyncio.sleep(WARM)
    before = [await workers.snapshot(name) for name in names]
    began, start = cpu(pid), time.monotonic()
    await sender.wait()
    await asyncio.sleep(2 * plan.tick)
    spent, length = cpu(pid) - began, time.monotonic() - start - 2 * plan.tick
    finals = await asyncio.gather(*(workers.close(name) for name in names))
    figures = [f for final in finals for f in final.streams.values()]
    stored = sum(f["packets"] for f in figures)
    packets = stored - sum(f["packets"] for each in before for f in each.streams.values())
    sent = sum(map(len, plan.flow.groups(plan.seconds))) * len(figures)
    share = sum(path.stat().st_size for path in folder.glob("*.m1")) / max(1, sum(f["bytes"] for f in figures))
    micros, load_of_call = spent / max(1, packets) * 1e6, spent / plan.calls / length * 1e6
    return (
        plan.flow.name, plan.suite, plan.calls, packets, f"{micros:.2f}", f"{load_of_call:.0f}",
        f"{1e6 / load_of_call:.0f}", sent - stored, f"{share:.3f}",
    )  # fmt: skip


def main() -> None:
    """Read the arguments and run."""
    if sys.argv[1:2] == ["load"]:
        load(FLOWS[sys.argv[2]], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", default="200", help="numbers of calls, with commas")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a row")
    parser.add_argument("--tick", type=float, default=1.0, help="seconds between two rounds of the worker")
    parser.add_argument("--codecs", default="all", help=f"with commas, of {', '.join(FLOWS)}")
    parser.add_argument("--suites", default="AES_CM_128_HMAC_SHA1_80", help=f"with commas, of {', '.join(SUITES)}")
    given = parser.parse_args()
    rows: list[tuple[object, ...]] = []
    print(f"{processes.machine()}\none worker, tick {given.tick} s, {given.seconds:.0f} s a row\n", flush=True)
    codecs = list(FLOWS) if given.codecs == "all" else given.codecs.split(",")
    plans = [
        (int(calls), codec, suite)
        for calls in given.calls.split(",")
        for codec in codecs
        for suite in given.suites.split(",")
    ]
    try:
        for calls, codec, suite in plans:
            with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
                rows.append(
                    asyncio.run(measure(Plan(FLOWS[codec], suite, calls, given.seconds, given.tick), Path(folder)))
                )
    finally:
        output.table(HEADER, rows)


if __name__ == "__main__":
    main()
