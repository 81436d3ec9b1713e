"""CPU time per packet of one media worker alone, by codec and crypto suite, and the disk space of its calls.

Run `python -m bench.media_plane [--calls 200] [--seconds 20] [--codecs all] [--suites SUITE,SUITE]`.

A second process sends. The worker is the real one; its CPU time (user and system) comes from the kernel.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.flows import FLOWS, Flow
from bench.media_load import BASE, Load, Spent, key_of
from media.receive import sockets
from media.spec import StreamSpec
from media.srtp.context import SUITES
from recorder.cli import console
from recorder.workers import messages
from recorder.workers.pool import Workers
from storage.vault.container import MEDIA_SEGMENT, PartSecret, new_part

HEADER = ("codec", "suite", "calls", "packets", "us/packet", "us/call and s", "calls/core", "lost", "disk x payload")


@dataclass(frozen=True)
class Plan:
    """The load of one row."""

    flow: Flow
    suite: str
    calls: int
    seconds: float
    tick: float
    base: int = BASE
    rtcp: bool = False
    """Whether each stream also has a socket for RTCP."""

    @property
    def load(self) -> Load:
        """Return the load that its streams receive."""
        return Load(self.flow, self.suite, self.flow.streams * self.calls, self.seconds, self.base)

    def open_pairs(self) -> list[sockets.Pair]:
        """Open the sockets of all streams; SocketRefused if a port is taken."""
        return [sockets.open_pair("127.0.0.1", self.base + 2 * i, self.rtcp) for i in range(self.load.streams)]


@dataclass(frozen=True)
class Row:
    """The result of one row."""

    plan: Plan
    packets: int
    """Packets that were stored while the CPU time was measured."""
    spent: Spent
    sent: int
    stored: int
    share: float = 0.0
    """Bytes on disk for each byte of payload; 0 = not measured."""

    @property
    def lost(self) -> int:
        """Return the number of packets that were sent and not stored."""
        return self.sent - self.stored

    @property
    def micros(self) -> float:
        """CPU microseconds per packet."""
        return self.spent.cpu / max(1, self.packets) * 1e6

    def cells(self) -> tuple[object, ...]:
        """Return the table row."""
        plan, of_call = self.plan, self.spent.cpu / self.plan.calls / self.spent.length * 1e6
        return (
            plan.flow.name, plan.suite, plan.calls, self.packets, f"{self.micros:.2f}", f"{of_call:.0f}",
            f"{1e6 / of_call:.0f}", self.lost, f"{self.share:.3f}",
        )  # fmt: skip


def open_part(folder: Path, number: int) -> tuple[int, PartSecret]:
    """Begin the part of a call; return its descriptor and its secret."""
    header, secret = new_part(os.urandom(32), b"bench", MEDIA_SEGMENT, os.urandom)
    part = os.open(folder / f"{number}.m1", os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(part, header)
    return part, secret


def _add(workers: Workers, plan: Plan, number: int, pairs: Sequence[sockets.Pair], folder: Path) -> None:
    """Give the worker one call."""
    part, secret = open_part(folder, number)
    spool = os.open(folder / f"run/spool/{number}", os.O_CREAT | os.O_RDWR, 0o600)
    key = key_of(plan.suite)
    specs = tuple(
        StreamSpec(s, plan.suite, key, own_key=key, payloads=plan.flow.payloads) for s in range(plan.flow.streams)
    )
    new = messages.NewCall(
        f"{number:036}", messages.Part("m1", secret.key, secret.prefix, secret.segment), specs, bytes(32)
    )
    workers.add(new, dict(enumerate(pairs)), part, spool)
    os.close(part)
    os.close(spool)


async def measure(plan: Plan, folder: Path) -> Row:
    """Run one load and return its row; SystemExit if the worker died or a call failed."""
    fault: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def notice(event: object) -> None:
        if isinstance(event, messages.WorkerDied | messages.CallFault) and not fault.done():
            fault.set_result(event)

    workers = Workers(1, folder / "run", notice, plan.tick)
    await workers.start()
    (folder / "run/spool").mkdir()
    streams = plan.flow.streams
    pairs = plan.open_pairs()
    for number in range(plan.calls):
        _add(workers, plan, number, pairs[streams * number : streams * (number + 1)], folder)
    row = asyncio.ensure_future(_loaded(workers, plan, folder))
    try:
        await asyncio.wait((row, fault), return_when=asyncio.FIRST_COMPLETED)
        if fault.done():  # no other worker takes the calls over, so waiting for the first would never end
            row.cancel()
            raise SystemExit(f"VOID: {fault.result()}")
        return row.result()
    finally:
        await workers.stop()
        for pair in pairs:
            pair.close()


async def _loaded(workers: Workers, plan: Plan, folder: Path) -> Row:
    names, pid, load = [f"{n:036}" for n in range(plan.calls)], workers._processes[0].pid, plan.load
    await workers.snapshot(names[-1])

    async def stored() -> int:
        shots = await asyncio.gather(*(workers.snapshot(name) for name in names))  # all calls within one tick
        return sum(f["packets"] for shot in shots for f in shot.streams.values())

    spent = await load.spend(pid, plan.tick, stored)
    finals = await asyncio.gather(*(workers.close(name) for name in names))
    figures = [f for final in finals for f in final.streams.values()]
    kept = sum(f["packets"] for f in figures)
    share = sum(path.stat().st_size for path in folder.glob("*.m1")) / max(1, sum(f["bytes"] for f in figures))
    return Row(plan, kept - spent.before, spent, load.packets, kept, share)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", default="200", help="numbers of calls, with commas")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a row")
    parser.add_argument("--tick", type=float, default=1.0, help="seconds between two rounds of the worker")
    parser.add_argument("--codecs", default="all", help=f"with commas, from {', '.join(FLOWS)}")
    parser.add_argument("--suites", default="AES_CM_128_HMAC_SHA1_80", help=f"with commas, from {', '.join(SUITES)}")
    given = parser.parse_args()
    rows: list[Row] = []
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
                plan = Plan(FLOWS[codec], suite, calls, given.seconds, given.tick)
                rows.append(asyncio.run(measure(plan, Path(folder))))
    finally:
        console.table(HEADER, [row.cells() for row in rows])


if __name__ == "__main__":
    main()
