"""Duration of a sweep of many calls, and its effect on recording: `python -m bench.retention [CALLS]`.

Fill a customer with finished recordings whose retention has ended (100,000 by default, two files of 8 KiB each), some
under legal hold; keep the output of `recorder retention --dry-run`; start the daemon, whose first sweep begins at once.
Meanwhile `recorder simulate` places calls, and /readyz is requested continuously. At the end, exactly the recordings
that the dry run named must be gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from bench import node, processes
from bench.node import RECORDER, Node
from recorder.config.loader import load
from recorder.persist.customers import open_customers
from storage.calls.call_row import CallRow, CallState, Query
from storage.customer.customers import Customer
from storage.search_forms import stored_of
from storage.timestamps import day_of
from storage.vault.container import Sealer

GOAL_SECONDS = 60.0
PATIENCE_SECONDS = 300
A_DAY = 2_000  # recordings
HELD_DAYS = 2  # one day in this many has a call under legal hold, so the day cannot be erased by one cut
OLD_DAYS = 200  # the retention rule says 180
SOUND = bytes(8 << 10)
BATCH = 1_000
LIVE_CALLS, CALL_SECONDS = 50, 60
PARTY = {"role": "caller", "name": "Jörg Ößling", "number": "+4930123456", "uri": "sip:+4930123456@example.com"}


@dataclass
class Case:
    """The prepared customer."""

    count: int
    """Number of recordings whose retention has ended."""
    held: set[str] = field(default_factory=set)
    """Ids of the recordings under legal hold."""
    foretold: set[str] = field(default_factory=set)
    """Ids of the recordings that the dry run named."""

    def prepare(self, config: Path) -> None:
        """Fill the customer and ask for a preview of the first sweep."""
        config.write_text(re.sub(r"(?m)^brake_percent = .*$", "brake_percent = 100", config.read_text()))
        begun = time.perf_counter()
        asyncio.run(self._fill(config))
        print(f"{self.count:,} recordings made in {time.perf_counter() - begun:.0f} s, {len(self.held)} of them held")
        words = [RECORDER, "retention", "--dry-run", "--config", config, "--json"]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        self.foretold = {item["id"] for item in json.loads(done.stdout)["items"]}

    async def _fill(self, config: Path) -> None:
        customers = await open_customers(load(config))
        (acme,) = customers.values()
        now = datetime.now(UTC)
        for start in range(0, self.count, BATCH):
            some = [recording(acme, now, n) for n in range(start, min(self.count, start + BATCH))]
            await acme.calls.put(some, [stored_of([PARTY], "DE")] * len(some))
            if start % (A_DAY * HELD_DAYS) == 0:
                await acme.holds.put(some[0].id, "court", "bench")
                self.held.add(some[0].id)
        await customers.close()


def recording(acme: Customer, now: datetime, number: int) -> CallRow:
    """Make a finished recording with two files and its row."""
    begin = now - timedelta(days=OLD_DAYS + number // A_DAY, seconds=number % A_DAY)
    id, leaf = str(uuid.uuid4()), acme.keys.allocate(day_of(begin))
    for name in ("c1", "m1"):
        part = acme.vault.create(id, leaf, name)
        os.write(part.fd, Sealer(part.secret).finish(SOUND))
        os.close(part.fd)
        acme.vault.finish(id, leaf, name)
    end, size = begin + timedelta(minutes=1), 2 * len(SOUND)
    return CallRow(id, leaf, CallState.COMPLETE, begin, end, 60_000, size, details={"parties": [PARTY]})


class Answers:
    """A client that requests /readyz continuously and records the time of each answer."""

    def __init__(self, one: Node) -> None:
        self.times_ms: list[float] = []
        self._port = one.api
        self._ended = False

    def run(self) -> None:
        """Send a request every 20 ms until `stop`."""
        while not self._ended:
            begun = time.perf_counter()
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=10) as answer:
                answer.read()
            self.times_ms.append((time.perf_counter() - begun) * 1000)
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop sending requests."""
        self._ended = True

    def quantile(self, share: float) -> float:
        """Return a quantile in milliseconds."""
        return sorted(self.times_ms)[min(len(self.times_ms) - 1, int(share * len(self.times_ms)))]


def erasures(one: Node, token: str) -> list[dict[str, Any]]:
    """Ask the API for the erasures that are not done."""
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx2.get(f"http://127.0.0.1:{one.api}/api/v1/customers/{customer(one)}/erasures", headers=headers)
    items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return items


def customer(one: Node) -> str:
    """Return the name of the only customer of a node."""
    return load(one.config).customers[0].name


def new_token(one: Node) -> str:
    """Make a token that may see erasures."""
    words = [RECORDER, "token", "create", "--config", one.config, "--customer", customer(one)]
    done = subprocess.run([*words, "--role", "privacy", "--name", "bench", "--json"], check=True, capture_output=True)
    return str(json.loads(done.stdout)["token"])


def simulate(one: Node) -> dict[str, Any]:
    """Place the live calls."""
    words = [RECORDER, "simulate", "--to", one.target, "--insecure", "--calls", str(LIVE_CALLS)]
    done = subprocess.run([*words, "--duration", str(CALL_SECONDS), "--json"], capture_output=True, text=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def swept(one: Node) -> tuple[float, float]:
    """Wait until the sweep has filed its erasures and all of them are done.

    Return the seconds since the daemon was ready, and the CPU seconds that the main process took.
    """
    begun, log = time.monotonic(), one.config.with_name("log")
    before = processes.cpu_of(one.process.pid)
    token = new_token(one)
    filed = False
    while not filed or erasures(one, token):
        filed = filed or "retention.sweep" in log.read_text()
        if time.monotonic() - begun > PATIENCE_SECONDS:
            raise SystemExit(f"not done after {PATIENCE_SECONDS} s: {one.warnings()}")
        time.sleep(0.5)
    return time.monotonic() - begun, processes.cpu_of(one.process.pid) - before


def ended(one: Node) -> None:
    """Wait until the index contains the end of every call."""
    begun = time.monotonic()
    while any(call["state"] == "recording" for call in one.calls()):
        if time.monotonic() - begun > PATIENCE_SECONDS:
            raise SystemExit("calls that have ended are still live in the index")
        time.sleep(0.5)


def show(one: Node, case: Case, took: float, cpu: float, answers: Answers, report: dict[str, Any]) -> bool:
    """Print the figures; False if a goal was missed."""
    left, fresh = asyncio.run(remaining(one))
    exact = left == case.held
    frames, stored = report["frames"], sum(stream["packets"] for row in fresh for stream in row.details["streams"])
    times = ", ".join(f"{answers.quantile(share):.0f}" for share in (0.5, 0.99, 1.0))
    print(f"{processes.machine()}\n")
    print("| recordings erased | s | CPU s | as the dry run said | live frames | lost | /readyz p50, p99, max |")
    print("|---|---|---|---|---|---|---|")
    erased = f"{len(case.foretold):,} | {took:.1f} | {cpu:.1f}"
    print(f"| {erased} | {exact} | {frames:,} | {frames - stored} | {times} ms |")
    return exact and frames == stored and report["well"] == LIVE_CALLS and took <= GOAL_SECONDS


async def remaining(one: Node) -> tuple[set[str], list[CallRow]]:
    """Return the ids of the old calls that remain, and the calls of today."""
    customers = await open_customers(load(one.config))
    (acme,) = customers.values()
    rows = [row async for row in acme.calls.every(Query())]
    await customers.close()
    border = datetime.now(UTC) - timedelta(days=1)
    return {row.id for row in rows if row.started_at < border}, [row for row in rows if row.started_at >= border]


def main() -> None:
    """Run the bench; return exit status 1 if a goal is missed."""
    case = Case(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    with node.running(prepare=case.prepare) as one, ThreadPoolExecutor(2) as pool:
        answers = Answers(one)
        asking = pool.submit(answers.run)
        calling: Future[dict[str, Any]] = pool.submit(simulate, one)
        took, cpu = swept(one)
        report = calling.result()
        ended(one)
        answers.stop()
        asking.result()
        well = show(one, case, took, cpu, answers, report)
    if case.foretold & case.held or len(case.foretold) + len(case.held) != case.count:
        sys.exit("the dry run named others than the calls whose retention is over and that are not held")
    if not well:
        sys.exit("a goal was missed")


if __name__ == "__main__":
    main()
