"""CPU time per packet of the media worker, compared with the same work as a plain loop in C, under one load.

Run `make bench BENCH=limit [ARGS='--calls 200,400 --rounds 3 --seconds 12']`; needs gcc with the headers of libc.

The two take turns with the same sender. The loop (limit.c) also runs in its own process, has the same sockets and calls
the same libsrtp; its CPU time is measured in the same way. It does none of the work by which a worker survives a crash.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import math
import mmap
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pylibsrtp import _binding as binding

from bench import media_plane, processes
from bench.flows import FLOWS
from bench.media_load import BASE, key_of
from bench.media_plane import Plan, Row
from media.errors import SocketRefused
from media.receive import batch, sockets
from media.records import record_format
from media.rtp import rtcp
from media.srtp import context
from recorder.cli import console
from recorder.workers import call_recorder
from recorder.workers.pool import TICK
from storage.vault import container

AIM = 1.5
"""Limit of the worker's CPU time, as a multiple of that of the loop in C."""
SOURCE = Path(__file__).with_name("limit.c")
CODECS = ("G.711", "G.722", "G.729", "AMR")
"""Codecs whose packets all have one size: limit.c can store only these."""
SUITES = tuple(name for name, suite in context.SUITES.items() if suite.policy)
"""All but AES_192_CM, which libsrtp does not support."""
HEADER = ("calls", "packets", "worker us/packet", "C us/packet", "worker / C", "lost by worker", "lost by C", "load")
_NUMBERS = {
    "SLOTS": batch.SLOTS, "NEAR": batch.NEAR, "FAR": batch.FAR, "CONTROL": batch.CONTROL, "RUN":
    int(record_format.Kind.RUN), "RUN_HEAD": record_format.RUN_HEAD, "DELTA_NS": record_format.DELTA_NS, "SEGMENT":
    container.MEDIA_SEGMENT, "HEADER": container.HEADER, "TAG": container.TAG, "MAX_ROUNDS": call_recorder.MAX_ROUNDS,
    "REPORTS": int(rtcp.INTERVAL),
}  # fmt: skip
_PR_SET_PDEATHSIG = 1
_LOOK = 0.005
"""Seconds between two checks whether the loop is idle."""


class Counters(ctypes.Structure):
    """Counters of the loop's work: `struct counters` of limit.c."""

    _fields_ = (
        ("packets", ctypes.c_uint64), ("failed", ctypes.c_uint64),
        ("ticks", ctypes.c_uint32), ("resting", ctypes.c_uint32), ("stop", ctypes.c_uint32),
    )  # fmt: skip

    @classmethod
    def shared(cls, path: Path) -> Counters:
        """Map the counters from a file, so that other processes can read them."""
        with path.open("r+b") as file:
            return cls.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(cls)))


def build(folder: Path) -> Path:
    """Compile the loop and link it with the worker's libsrtp; SystemExit if that fails."""
    gcc = shutil.which("gcc")
    if gcc is None:
        raise SystemExit("the loop in C needs gcc and the headers of libc (Debian: apt-get install gcc libc6-dev)")
    library = folder / "limit.so"
    numbers = [f"-D{name}={value}" for name, value in _NUMBERS.items()]
    words = [gcc, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-fPIC", "-shared", *numbers, "-o", library, SOURCE]
    if subprocess.run([*words, binding.__file__], check=False).returncode:
        raise SystemExit("limit.c does not compile here")
    return library


class Loop:
    """The loop in C, inside this process."""

    def __init__(self, library: Path, counters: Counters) -> None:
        self._c, self._counters = ctypes.CDLL(str(library)), counters
        self._engines: list[context.Engine] = []
        self._c.limit_begin(ctypes.byref(counters))

    def add(self, part: int, secret: container.PartSecret, pairs: Sequence[sockets.Pair], suite: str) -> None:
        """Add a call of two streams: the file, its secret and the sockets, RTP and RTCP."""
        engines = [context.Engine(context.SUITES[suite], key_of(suite), inbound=True) for _ in pairs]
        self._engines += engines  # kept alive until the process ends
        sessions = (ctypes.c_void_p * len(pairs))(*[int(context.ffi.cast("uintptr_t", e.session)) for e in engines])
        descriptors = [fd for pair in pairs for fd in pair.filenos()]
        self._c.limit_call(part, secret.key, secret.prefix, (ctypes.c_int * len(descriptors))(*descriptors), sessions)

    def tick(self, beat: int) -> None:
        """Drain every call once, and every few beats check a call for reports."""
        self._c.limit_tick(beat)

    def run(self) -> None:
        """Tick until the counters say stop."""
        self._c.limit_run()


def loop(library: str, folder: str, codec: str, suite: str, calls: int, base: int) -> None:
    """Run the loop as the measured process; the kernel kills it if the bench dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    plan = Plan(FLOWS[codec], suite, calls, 0.0, TICK, base, rtcp=True)
    running, pairs = Loop(Path(library), Counters.shared(Path(folder) / "counters")), plan.open_pairs()
    for number in range(calls):
        part, secret = media_plane.open_part(Path(folder), number)
        running.add(part, secret, pairs[2 * number : 2 * number + 2], suite)
    running.run()


async def measure(plan: Plan, folder: Path, library: Path) -> Row:
    """Run one load on the loop and return its row; SystemExit if it ended or could not write."""
    (folder / "counters").write_bytes(bytes(ctypes.sizeof(Counters)))
    counters = Counters.shared(folder / "counters")
    words = [library, folder, plan.flow.name, plan.suite, str(plan.calls), str(plan.base)]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.limit", "loop", *words)

    async def stored(ticks: int = 0) -> int:
        enough = counters.ticks + ticks
        while not counters.resting or counters.ticks < enough:
            if process.returncode is not None:
                raise SystemExit("VOID: the loop in C ended")
            await asyncio.sleep(_LOOK)
        return counters.packets

    try:
        await stored()
        spent = await plan.load.spend(process.pid, plan.tick, stored)
        kept = await stored(2)  # one reading may be in progress; a busy machine may delay both
    finally:
        counters.stop = 1
        await process.wait()
    if counters.failed:
        raise SystemExit("VOID: the loop in C could not seal or write")
    return Row(plan, kept - spent.before, spent, plan.load.packets, kept)


@dataclass(frozen=True)
class Round:
    """Worker and loop under the same load, one after the other."""

    worker: Row
    loop: Row
    load: float
    """Load of the machine at the end of the round."""

    @property
    def ratio(self) -> float:
        """Return the worker's CPU time in multiples of the loop's."""
        return self.worker.micros / (self.loop.micros or math.nan)


def compare(plan: Plan, library: Path, first: bool) -> Round:
    """Measure both, with `first` the worker before the loop; SystemExit if a port is taken."""
    rows: dict[bool, Row] = {}
    for worker in (first, not first):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
            one = media_plane.measure(plan, Path(place)) if worker else measure(plan, Path(place), library)
            try:
                rows[worker] = asyncio.run(one)
            except SocketRefused as taken:
                raise SystemExit(f"VOID: {taken}; choose another --port") from None
    return Round(rows[True], rows[False], os.getloadavg()[0])


def cells(rounds: Sequence[Round]) -> tuple[object, ...]:
    """Return the table row for all rounds of a load."""

    def spread(figure: Callable[[Round], float]) -> str:
        each = [figure(one) for one in rounds]
        return f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"

    lost = [sum(row.lost for row in rows) for rows in ([one.worker for one in rounds], [one.loop for one in rounds])]
    return (
        rounds[0].worker.plan.calls, sum(one.worker.packets + one.loop.packets for one in rounds),
        spread(lambda one: one.worker.micros), spread(lambda one: one.loop.micros),
        spread(lambda one: one.ratio) + (" VOID" if any(lost) else ""), *lost,
        f"{max(one.load for one in rounds):.1f}",
    )  # fmt: skip


def main(words: Sequence[str] | None = None) -> list[Round]:
    """Read the arguments, measure and print one table; return all rounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", default="200,400", help="numbers of calls, with commas")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of worker and loop for each number of calls")
    parser.add_argument(
        "--seconds", type=float, default=12.0, help="seconds of packets; the first few are not measured"
    )
    parser.add_argument("--codec", default="G.711", choices=CODECS)
    parser.add_argument("--suite", default="AES_CM_128_HMAC_SHA1_80", choices=SUITES)
    parser.add_argument("--port", type=int, default=BASE, help="port of the first stream, even")
    given = parser.parse_args(words)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # four sockets and two files a call
    print(f"{processes.machine()}\n{given.codec}, {given.suite}, two streams a call, a tick a second", flush=True)
    print(f"{given.rounds} rounds of {given.seconds:.0f} s; medians, least and most; aim: {AIM} times C\n", flush=True)
    table: list[list[Round]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            library = build(Path(folder))
            for calls in map(int, given.calls.split(",")):
                plan = Plan(FLOWS[given.codec], given.suite, calls, given.seconds, TICK, given.port, rtcp=True)
                for turn in range(given.rounds):
                    both = compare(plan, library, turn % 2 == 0)
                    table = [*table, [both]] if not turn else [*table[:-1], [*table[-1], both]]
    finally:
        console.table(HEADER, map(cells, table))
    return [one for rounds in table for one in rounds]


if __name__ == "__main__":
    if sys.argv[1:2] == ["loop"]:
        loop(*sys.argv[2:6], int(sys.argv[6]), int(sys.argv[7]))
    else:
        main()
