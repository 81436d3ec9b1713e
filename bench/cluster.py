"""The cost of several nodes that share a database and an object store: `python -m bench.cluster [--only NAME,…]`.

PostgreSQL, rclone as object store, and real daemons on this machine. README.md in this folder explains the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import re
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

from bench import lists, processes
from bench.capacity import SETTLE, TOO_LATE
from bench.retention import PARTY, Case
from recorder.cli import console
from recorder.config.loader import load
from recorder.persist.customers import open_customers
from recorder.persist.indexer import BATCH
from recorder.simulate.media_link import MediaLink
from recorder.simulate.plan import Plan
from recorder.simulate.report import Report
from recorder.simulate.run import run
from storage.calls.call_row import CallRow, CallState
from storage.retention.policy import with_erase_after
from storage.search_forms import stored_of
from storage.timestamps import day_of
from tests.daemon.api import WAIVER, Api, until
from tests.daemon.nodes import indexed, nodes
from tests.daemon.object_stores import Proxy, object_store
from tests.daemon.postgresql import Cluster, cluster

LOGGED = "-c log_statement=all -c log_line_prefix='%m [%p] '"
DATABASE = "recorder_acme"
RATE = 10.0
IDLE_SECONDS = 20.0
PAGES = 30
TRANSACTIONS = 20
TOKENS = 19  # of a call as `recorder simulate` places it
DETAILS: Any = {"session_id": "s", "parties": [PARTY, PARTY], "streams": [lists.STREAM, lists.STREAM]}
CUTS = 10
SWEEP_PATIENCE = 1_800.0
CPU_GOAL, CUT_GOAL, SEARCH_GOAL_MS, ERASED_GOAL, PAGE_GOAL_MS = 1.1, 2.0, 50.0, 100_000 / 120, 100.0


@dataclass
class Given:
    """The options of the command line."""

    nodes: int
    calls: int
    seconds: float
    indexed: int
    erased: int


@dataclass
class Results:
    """The figures, in the order in which they were measured."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, name: str, value: str, goal: str = "", *, met: bool = True) -> None:
        """Add a figure, with its goal if there is one."""
        load = f"{os.getloadavg()[0]:.1f}"  # of all processes in the last minute; elapsed times are valid below 2 only
        self.rows.append((name, value, goal and f"{goal}, {'met' if met else 'MISSED'}", load))
        print(f"  {name}: {value} {goal} (load {load})", flush=True)
        if not met:
            self.missed.append(name)


@dataclass
class World:
    """Running nodes and the servers they share."""

    apis: list[Api]
    database: Cluster
    store: Proxy

    @property
    def pids(self) -> list[int]:
        """Process ids of the daemons."""
        return [api.one.process.pid for api in self.apis if api.one.process is not None]

    @property
    def server(self) -> int:
        """Process id of the database server."""
        return int((self.database.place / "data" / "postmaster.pid").read_text().split()[0])

    def number(self, question: str) -> float:
        """Ask the database for a number."""
        return float(self.database.ask(DATABASE, question) or 0)


@contextmanager
def world(count: int, calls: int, options: str = "", prepare: Callable[[Api], object] | None = None) -> Iterator[World]:
    """Start `count` nodes for `calls` calls each; `prepare` is called with the first one before it starts."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm")))
        database = stack.enter_context(cluster(options))
        database.start()
        store = stack.enter_context(object_store("rclone", folder / "store"))
        proxy = stack.enter_context(closing(Proxy(store.port)))
        some = nodes(folder, database.url, proxy.port, count, calls=calls + 20, prepare=prepare)
        apis = stack.enter_context(some)
        yield World(apis, database, proxy)


def loads(apis: Sequence[Api], calls: int, seconds: float) -> list[Plan]:
    """Return the calls of each node."""
    return [Plan(api.one.uri("tls"), calls=calls, seconds=seconds, rate=RATE, insecure=True) for api in apis]


async def place(apis: Sequence[Api], calls: int, seconds: float) -> list[Report]:
    """Place calls at every node; SystemExit if one fails."""
    reports = await asyncio.gather(*(run(plan) for plan in loads(apis, calls, seconds)))
    if any(report.exit_status for report in reports):
        raise SystemExit(f"VOID: {[report.facts() for report in reports]}")
    return reports


# ---- cost of a call for the database and the store ----
def costs(given: Given, results: Results) -> None:
    """Measure rows, write-ahead log, transactions and requests of a call, and of its erasure."""
    with world(1, given.calls, LOGGED) as it:
        (api,) = it.apis
        asyncio.run(place(it.apis, 2, 1.0))  # imports, pools
        indexed(it.apis)
        idle(it, results)
        begin, rows, tokens, cpu = it.database.written(), *counted(it), processes.cpu(it.server)
        it.store.seen.clear()
        asyncio.run(place(it.apis, given.calls, given.seconds))
        indexed(it.apis)
        until(lambda: not any(call["state"] == "recording" for call in api.calls()))
        records, images = log_written(it, begin)
        more_rows, more_tokens = counted(it)
        each = given.calls
        found = f"{(more_rows - rows) / each:.2f}, {(more_tokens - tokens) / each:.1f}"
        results.add("rows a call: calls, call_tokens", found)
        results.add("records of the write-ahead log a call", f"{records / each:,.0f} bytes")
        results.add("images of pages a call, the first change after a checkpoint", f"{images / each:,.0f} bytes")
        results.add("CPU of the database server a call", f"{(processes.cpu(it.server) - cpu) / each * 1000:.2f} ms")
        results.add("requests to the store a call", methods(it.store, each))
        held = holds(it.database.log)
        results.add("writing transactions a call", f"{len(held) / (each + 2):.2f}")
        results.add(
            "one holds the lock for (no sync, no network)", f"{min(held):.2f} ms at least, median {median(held):.2f}"
        )
        erased(it, results)


def log_written(it: World, begin: str) -> tuple[int, int]:
    """Return the bytes of records and of page images written to the write-ahead log since a position."""
    end = it.database.written()
    words = [it.database.programs / "pg_waldump", "--stats", "-p", it.database.place / "data" / "pg_wal"]
    done = subprocess.run([*words, "-s", begin, "-e", end], capture_output=True, text=True, check=True)
    (total,) = re.findall(r"(?m)^Total\s+\d+\s+(\d+) \[\S+\s+(\d+) \[", done.stdout)
    return int(total[0]), int(total[1])


def counted(it: World) -> tuple[float, float]:
    """Count calls and search tokens."""
    return it.number("select count(*) from calls"), it.number("select count(*) from call_tokens")


def methods(store: Proxy, calls: int) -> str:
    """Return the number of requests of each method for one call."""
    found: Counter[str] = Counter()
    for first, _, _ in store.seen:
        listed = "list-type" in first or "versions" in first
        found[f"{first.split()[0]}{' (list)' if listed else ''}"] += 1
    return ", ".join(f"{count / calls:.2f} {method}" for method, count in sorted(found.items()))


def holds(log: Path) -> list[float]:
    """Read from the server's log how long each writing transaction held the lock, in milliseconds."""
    line = re.compile(r"^(\S+ \S+) \S+ \[(\d+)\] LOG:  (?:statement|execute \S+): (.*)")
    began: dict[str, datetime] = {}
    found = []
    for text in log.read_text(errors="replace").splitlines():
        if (match := line.match(text)) is None:
            continue
        at = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
        if "pg_advisory_xact_lock" in match[3]:
            began[match[2]] = at
        elif match[3].startswith(("COMMIT", "ROLLBACK")) and match[2] in began:
            found.append((at - began.pop(match[2])).total_seconds() * 1000)
    return found


def idle(it: World, results: Results) -> None:
    """Measure the database load of nodes without calls."""
    commits = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    before, server, daemon = it.number(commits), processes.cpu(it.server), sum(map(processes.cpu, it.pids))
    time.sleep(IDLE_SECONDS)
    each = IDLE_SECONDS * len(it.apis)
    name = f"idle, {len(it.apis)} nodes, one customer, of one node a second"
    cpu = [(processes.cpu(it.server) - server) / each * 1000, (sum(map(processes.cpu, it.pids)) - daemon) / each * 1000]
    done = (it.number(commits) - before) / each
    results.add(name, f"{done:.2f} transactions, CPU {cpu[0]:.2f} ms of the server, {cpu[1]:.2f} ms of the node")


def erased(it: World, results: Results) -> None:
    """Erase half of the calls by one request, and measure its cost."""
    (api,) = it.apis
    some = [call["id"] for call in api.calls()][::2]
    api.ask("PUT", "/waiver", json=WAIVER)
    it.store.seen.clear()
    begin = it.database.written()
    api.erase(calls=some)
    results.add("requests to the store an erased call", methods(it.store, len(some)))
    records, images = log_written(it, begin)
    results.add("write-ahead log an erased call", f"{records / len(some):,.0f} bytes, images {images / len(some):,.0f}")


def lock(_given: Given, results: Results) -> None:
    """Measure the cost of an index transaction while it holds its database's lock, by the number of calls in it."""
    with world(1, 2) as it:
        (api,) = it.apis
        api.one.stop()
        one, many = asyncio.run(_lock(api.one.config, it.server))
        calls, tokens = counted(it)
        size = it.number("select pg_total_relation_size('calls') + pg_total_relation_size('call_tokens')") / calls
    row = (many - one) / (BATCH - 1)
    name = "under the lock, CPU of node and server: a transaction of the index, and a call in it"
    results.add(name, f"{one - row:.2f} ms, {row:.3f} ms")
    results.add(f"bytes of the index a call with {tokens / calls:.0f} tokens", f"{size:,.0f}")


async def _lock(config: Path, server: int) -> list[float]:
    """Return the CPU milliseconds of a transaction with one call and of one with many.

    They run one after the other, so this is how long each takes if nothing else uses the processor.
    """
    customers = await open_customers(load(config))
    (acme,) = customers.values()
    found = []
    forms = stored_of([PARTY, {**PARTY, "number": "+4930765432"}], "DE")
    forms = (*forms, *(f"w:word{n}" for n in range(TOKENS - len(forms))))
    for size in (1, BATCH):
        spent = 0.0
        for _ in range(TRANSACTIONS):
            moment = datetime.now(UTC)
            leaves = [acme.keys.allocate(day_of(moment)) for _ in range(size)]
            rows = [
                CallRow(str(uuid.uuid4()), leaf, CallState.COMPLETE, moment, moment, 60_000, 9_000, details=DETAILS)
                for leaf in leaves
            ]
            begun = time.process_time() + processes.cpu(server)
            async with acme.database.writing() as connection:
                await acme.user_matcher.notice_in(connection)
                policy = await acme.rules.policy_in(connection)
                rows = [with_erase_after(row, forms, policy) for row in rows]
                await acme.calls.put_in(connection, rows, [forms] * size)
            spent += time.process_time() + processes.cpu(server) - begun
        found.append(spent / TRANSACTIONS * 1000)
    await customers.close()
    return found


# ---- figures of several nodes ----
def media(given: Given, results: Results) -> None:
    """Compare the CPU time per packet of one node with that of several nodes, including the upload."""
    found = {}
    with world(1, given.calls, prepare=lambda api: api.one.replace('media = "s3"', 'media = "file"')) as it:
        results.add("CPU a packet without upload, one node", f"{asyncio.run(_packets(it, given)):.2f} us")
    for count in (1, given.nodes):
        with world(count, given.calls) as it:
            found[count] = asyncio.run(_packets(it, given))
        results.add(
            f"CPU a packet, upload included, {count} nodes of {given.calls} calls each", f"{found[count]:.2f} us"
        )
    ratio = found[given.nodes] / found[1]
    results.add("of several nodes, by that of one", f"{ratio:.2f}", f"<= {CPU_GOAL}", met=ratio <= CPU_GOAL)


async def _packets(it: World, given: Given) -> float:
    """Return the CPU microseconds per packet of all daemons, from the first INVITE until everything is uploaded."""
    await place(it.apis, 2, 1.0)
    indexed(it.apis)
    before = sum(map(processes.cpu, it.pids))
    senders: list[MediaLink] = []
    length = given.seconds + given.calls / RATE + SETTLE
    tasks = [asyncio.create_task(run(plan, on_media=senders.append)) for plan in loads(it.apis, given.calls, length)]
    reports = await asyncio.gather(*tasks)
    await asyncio.to_thread(indexed, it.apis)
    used = sum(map(processes.cpu, it.pids)) - before
    late = max(report.sending.late_5ms for report in reports)
    if any(report.exit_status for report in reports) or late > TOO_LATE:
        print(f"VOID: {late:.0%} of the sender's slots were late: {[report.facts() for report in reports]}")
    return used / sum(report.frames for report in reports) * 1e6


def cuts(given: Given, results: Results) -> None:
    """Erase single calls while all nodes run, and measure how long each erasure takes."""
    with world(given.nodes, CUTS) as it:
        asyncio.run(place(it.apis, CUTS, 1.0))
        indexed(it.apis)
        it.apis[0].ask("PUT", "/waiver", json=WAIVER)
        idle(it, results)
        took = []
        for call in it.apis[0].calls()[:CUTS]:
            begun = time.monotonic()
            it.apis[0].erase(calls=[call["id"]])
            took.append(time.monotonic() - begun)
        value = f"{median(took):.2f} s, at most {max(took):.2f} s"
        results.add(f"an erasure, {given.nodes} holders", value, f"<= {CUT_GOAL} s", met=max(took) <= CUT_GOAL)
        pages(it, results)


def pages(it: World, results: Results) -> None:
    """Ask the last node for calls that another one recorded."""
    times = asked(it.apis[-1], "/calls?limit=50")
    value = f"{min(times):.1f} ms at least, median {median(times):.1f} ms"
    met = median(times) <= PAGE_GOAL_MS
    results.add("a page of calls from another node", value, f"<= {PAGE_GOAL_MS:.0f} ms", met=met)


def asked(api: Api, path: str) -> list[float]:
    """Send a request several times over one connection; return the milliseconds until each answer is complete."""
    there = http.client.HTTPConnection(api.one.api_host, api.one.api, timeout=120)
    headers, times = {"Authorization": f"Bearer {api.one.token('admin')}"}, []
    for _ in range(PAGES):
        begun = time.perf_counter()
        there.request("GET", f"/api/v1/customers/{api.customer}{path}", headers=headers)
        answer = there.getresponse()
        found = answer.read()
        times.append((time.perf_counter() - begun) * 1000)
        if answer.status != http.client.OK:
            raise SystemExit(f"{path}: {answer.status} {found[:500]!r}")
    there.close()
    return times


def search(given: Given, results: Results) -> None:
    """Measure searches at the last node, in an index that was filled before the start."""

    def fill(api: Api) -> None:
        asyncio.run(lists.fill(api.one.config, given.indexed))

    with world(given.nodes, 1, prepare=fill) as it:
        time.sleep(10)  # the daemon's work after a start
        queries = {name: query for name, query in lists.questions(lists.first_day()).items() if "party" in query}
        slowest = 0.0
        for query in queries.values():
            times = asked(it.apis[-1], f"/calls?{urlencode({**query, 'limit': 50})}")
            slowest = max(slowest, min(times))
        name = f"search in {given.indexed:,} calls, the slowest of {len(queries)} kinds"
        results.add(name, f"{slowest:.1f} ms", f"<= {SEARCH_GOAL_MS:.0f} ms", met=slowest <= SEARCH_GOAL_MS)


def sweeps(given: Given, results: Results) -> None:
    """Have the first sweep erase many calls, and measure the time until every holder has cut them."""
    case = Case(given.erased)

    def fill(api: Api) -> None:
        api.one.replace("[keys]", "[retention]\nbrake_percent = 100\n[keys]")
        case.prepare(api.one.config)

    with world(given.nodes, 1, prepare=fill) as it:
        begun = time.monotonic()
        until(lambda: it.number("select count(*) from calls") <= len(case.held), SWEEP_PATIENCE)
        until(lambda: not it.apis[0].get("/erasures", "privacy").json()["items"], SWEEP_PATIENCE)
        took = time.monotonic() - begun
    rate = len(case.foretold) / took
    value = f"{len(case.foretold):,} in {took:.1f} s, {rate:,.0f} a second"
    results.add("retention erasures", value, f">= {ERASED_GOAL:.0f} a second", met=rate >= ERASED_GOAL)


ALL = {each.__name__: each for each in (costs, lock, media, cuts, search, sweeps)}


def main(argv: Sequence[str] | None = None) -> Results:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(prog="bench.cluster", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default=",".join(ALL), help=f"with commas, from {', '.join(ALL)}")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--calls", type=int, default=60, help="of each node")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a call")
    parser.add_argument(
        "--indexed", type=int, default=50_000, help="calls that are searched in; the goal is for 10 million"
    )
    parser.add_argument("--erased", type=int, default=5_000, help="calls of a sweep; the goal is for 100,000")
    given = vars(parser.parse_args(argv))
    names = given.pop("only").split(",")
    results = Results()
    print(f"{processes.machine()}\n", flush=True)
    try:
        for name in names:
            ALL[name](Given(**given), results)
    finally:
        console.table(("what", "measured", "goal", "load"), results.rows)
    return results


if __name__ == "__main__":
    if main().missed:
        raise SystemExit("a goal was missed")
