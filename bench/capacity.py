"""Calls per core of the whole daemon: `python -m bench.capacity [--calls 200,500,1000] [--seconds 30] [--rtpengine]`.

Start the installed daemon, place N calls of two SRTP streams from separate processes, wait until all are up and measure
a steady period. README.md in this folder explains the columns.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench import node, processes
from recorder.cli import console
from recorder.simulate.media_link import MediaLink
from recorder.simulate.plan import SUITES, Plan
from recorder.simulate.report import Report
from recorder.simulate.run import run

RATE = 25.0
"""New calls a second; slow enough that set-up, which another bench measures, does not disturb this one."""
SETTLE = 3.0
"""Seconds between the last call's set-up and the measurement."""
TOO_LATE = 0.05
"""If this share of slots or more is late, the machine was too busy: loss and cost come from the sender's bursts."""
HEADER = ("what", "calls", "us/packet", "calls/core", "sent", "stored", "lost", "KiB/call", "sender late")
PACKETS_PER_CALL = 100
"""Two streams of 50 packets a second."""


@dataclass(frozen=True)
class Cost:
    """The result of one steady period."""

    micros: float
    """CPU microseconds of all processes for each packet."""
    late: float
    """Share of the sender's slots in it that were more than 5 ms late."""


@dataclass(frozen=True)
class Row:
    """One measurement."""

    what: str
    calls: int
    micros: float
    """CPU microseconds of all processes for each packet."""
    sent: int
    stored: int
    memory: float
    """Bytes for each call, above idle."""
    late: float
    """Share of the sender's slots that were more than 5 ms late."""

    @property
    def per_core(self) -> float:
        """Return the number of calls that one processor could carry."""
        return 1e6 / (PACKETS_PER_CALL * self.micros)

    def cells(self) -> tuple[object, ...]:
        """Return the table row."""
        rounded = (f"{self.micros:.2f}", f"{self.per_core:.0f}", self.sent, self.stored, self.sent - self.stored)
        late = f"{self.late:.2%}" + (" VOID" if self.late > TOO_LATE else "")
        return (self.what, self.calls, *rounded, f"{self.memory / 1024:.1f}", late)


async def measure(calls: int, seconds: float, suite: str, workers: int) -> Row:
    """Start a daemon, load it with this many calls and return the result."""
    with node.running(workers) as running:
        pid = running.process.pid
        await run(Plan(running.target, calls=2, seconds=1, insecure=True, srtp=suite))  # loads imports, fills pools
        await asyncio.sleep(1)
        idle = processes.memory(pid)
        length = seconds + 1.3 * calls / RATE + 2 * SETTLE
        plan = Plan(running.target, calls=calls, seconds=length, rate=RATE, insecure=True, srtp=suite)
        sender: list[MediaLink] = []
        task = asyncio.create_task(run(plan, on_media=sender.append))
        await _all_up(running, calls, task)
        await asyncio.sleep(SETTLE)
        cost = await stretch(pid, sender[0], seconds)
        memory = (processes.memory(pid) - idle) / calls
        if await asyncio.to_thread(running.metric, "recorder_calls_active") != calls:
            raise SystemExit(f"VOID: calls ended during the measurement.\n{running.warnings()}")
        report = await task
        return _row(report, running.calls(), calls, cost, memory)


async def stretch(pid: int, sender: MediaLink, seconds: float) -> Cost:
    """Measure a steady period: CPU seconds of a process family against the packets sent meanwhile."""
    before, cpu = await sender.do("count"), processes.cpu(pid)
    await asyncio.sleep(seconds)
    after, used = await sender.do("count"), processes.cpu(pid) - cpu
    slots = after["slots"] - before["slots"]
    late = (after["late_5ms"] - before["late_5ms"]) / max(1, slots)
    return Cost(used / max(1, after["packets"] - before["packets"]) * 1e6, late)


async def _all_up(running: node.Node, calls: int, task: asyncio.Task[Report]) -> None:
    while await asyncio.to_thread(running.metric, "recorder_calls_active") < calls:
        if task.done():
            raise SystemExit(f"VOID: the calls ended before all were up: {task.result().facts()}\n{running.warnings()}")
        await asyncio.sleep(0.5)


def _row(report: Report, listed: Sequence[dict[str, object]], calls: int, cost: Cost, memory: float) -> Row:
    """Return the row; for each call, compare the packets sent with those that the recorder lists as stored."""
    stored = {item["session_id"]: sum(s["packets"] for s in item["streams"]) for item in listed}  # type: ignore[attr-defined]  # JSON
    kept = sum(min(stored.get(call.session_id, 0), sum(s.frames for s in call.streams)) for call in report.calls)
    return Row("recorder", calls, cost.micros, report.frames, kept, memory, cost.late)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Calls per core of the whole daemon.")
    parser.add_argument("--calls", default="200,500,1000", help="numbers of calls, with commas")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a measurement")
    parser.add_argument("--suite", default="AES_CM_128_HMAC_SHA1_80", choices=[*SUITES, "none"])
    parser.add_argument("--workers", type=int, default=0, help="media workers, 0 for the daemon's default")
    parser.add_argument("--rtpengine", action="store_true", help="put the same load on rtpengine, if it is installed")
    return parser.parse_args()


def measure_all(given: argparse.Namespace, rows: list[Row]) -> None:
    """Append one row for each load; keep the rows measured before a void run."""
    for calls in map(int, given.calls.split(",")):
        rows.append(asyncio.run(measure(calls, given.seconds, given.suite, given.workers)))
        if given.rtpengine:
            from bench import rtpengine

            other = asyncio.run(rtpengine.measure(calls, given.seconds, given.suite))
            rows += [other] if other else []


def show(rows: Sequence[Row]) -> None:
    """Print the table and compare the two."""
    console.table(HEADER, [row.cells() for row in rows])
    for ours, theirs in pairwise(rows):
        if (ours.what, theirs.what) == ("recorder", "rtpengine") and max(ours.late, theirs.late) <= TOO_LATE:
            print(f"\n{ours.calls} calls: {theirs.micros / ours.micros:.2f} times as many per core as rtpengine")


def main() -> None:
    """Measure and print one table."""
    given = arguments()
    rows: list[Row] = []
    print(f"{processes.machine()}\n{given.suite}, {given.seconds:.0f} s a row\n", flush=True)
    try:
        measure_all(given, rows)
    finally:
        show(rows)


if __name__ == "__main__":
    main()
