"""Answer times of lists of calls and previews of retention: `python -m bench.lists [CALLS] [--postgresql]`.

Fill one customer's index with calls of two years (50,000 by default) and start the daemon. Then ask the API and the
admin page over HTTP on loopback, as one client with one connection: lists under every kind of filter, and what a sweep
would erase if about 50,000 calls were due.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex

from bench import node, processes
from bench.node import RECORDER, Node
from bench.people import COUNTRY, Person, everybody, party
from recorder.config.loader import load
from recorder.persist.customers import open_customers
from storage.calls import filter_columns
from storage.calls.call_document import wrapped
from storage.calls.call_row import CallRow, CallState, Position, columns, pack
from storage.calls.search_tokens import tokens
from storage.customer.customers import Customer
from storage.database.schema import calls, days
from storage.keys.key_tree import leaf_of
from storage.keys.row_keys import LABEL_DETAILS, LABEL_INDEX, context
from storage.search_forms import stored
from storage.timestamps import day_of, rfc3339, to_micros
from tests.daemon.postgresql import cluster

DAYS = 730
FEW = 10  # previews of each kind
COLUMNS = [column.name for column in calls.c]
KEPT_DAYS = 36_500  # so long that nothing is due by the rules in force
SEED = 20261130
PAIRS = 2_000  # different pairs of parties
PIECE = 20_000  # rows written at once
TIMES = 30  # requests of each kind
DUE = 50_000
PAGE_GOAL_BYTES = 40_000
LIST_GOAL_MS, LARGE_GOAL_MS = 20.0, 50.0  # of lists with up to 50,000 calls, and with more
PREVIEW_GOAL_MS = 300.0
READY_SECONDS = 600.0  # PostgreSQL may analyse the loaded rows first
CALM_SECONDS, CALM_MS = 2, 30.0  # an idle daemon takes 2 ms of CPU a second
SBCS, RARE_SBC = ("192.0.2.1", "192.0.2.2", "192.0.2.3"), "192.0.2.200"
WHO = "anna"
PASSWORD = "a fine long passphrase"
STREAM = {"label": "1", "party": 0, "media": "audio", "codec": "PCMA", "packets": 9000, "lost": 0, "gap_ms": 0}


# ---- contents of the index ----
@dataclass(frozen=True, slots=True)
class Sample:
    """The sealed part of a call, made once for many calls."""

    number: int
    """Number of the sample."""
    packed: bytes
    """The sealed bytes."""
    forms: tuple[str, ...]
    """Search forms."""
    clear: Mapping[str, int]
    """Values of the columns for filters."""


class Samples:
    """All kinds of calls: pairs of people, three SBCs, two directions, and the rare kinds."""

    def __init__(self, customer: Customer) -> None:
        self._customer = customer
        self._people = everybody(PAIRS)
        self._usual = [self._make(n, n % 2, SBCS[n % 3]) for n in range(PAIRS)]
        self._rare_person = self._make(PAIRS, 0, SBCS[0], RARE_PERSON)
        self._rare_source = self._make(PAIRS + 1, 1, RARE_SBC)
        self._internal = self._make(PAIRS + 2, 2, SBCS[2])

    def of(self, number: int, every: int) -> Sample:
        """Return the sample of a call; in `every` calls there is one of each rare kind, at its own place."""
        place = number % every
        rare = {1: self._rare_person, 2: self._rare_source, 3: self._internal}
        return rare.get(place) or self._usual[number * 7919 % PAIRS]

    def _make(self, number: int, direction: int, source: str, person: Person | None = None) -> Sample:
        people = (person or self._people[number % PAIRS], self._people[(number * 31 + 5) % PAIRS])
        parties = [party(people[0], 0), party(people[1], 2)]
        details = {
            "session_id": "s",
            "parties": parties,
            "streams": [STREAM, {**STREAM, "party": 1}],
            "direction": ("inbound", "outbound", "internal")[direction],
            "source": source,
        }
        forms = tuple(dict.fromkeys(form for one in parties for form in stored(one, COUNTRY)))
        clear = filter_columns.columns(self._customer.keys, details)
        return Sample(number, pack(wrapped(details), forms), forms, clear)  # type: ignore[arg-type]  # as JSON has it


RARE_PERSON = Person("Xaver", "Ungewöhnlich", 987_654, 9)


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of some calls of one day."""

    day: int
    """The day, in days since 1970-01-01 UTC."""
    calls: list[tuple[Any, ...]]
    """Rows for the table `calls`, in the order of its columns."""
    tokens: list[tuple[int, int, int]]
    """Rows for the table `call_tokens`, sorted."""
    held: list[str]
    """Calls under legal hold."""


def pieces(customer: Customer, count: int, began: datetime) -> Iterator[Piece]:
    """Yield the rows that `Calls.put` would have written, oldest first."""
    samples, random, every = Samples(customer), Random(SEED), max(1_000, count // 20)
    number, a_day = 0, -(-count // DAYS)
    for day in range(DAYS):
        left = min(a_day, count - number)
        maker = _Day(customer, began + timedelta(days=day), a_day, samples)
        for start in range(0, left, PIECE):
            piece = Piece(maker.day, [], [], [])
            for n in range(start, min(start + PIECE, left)):
                id = str(uuid.UUID(int=random.getrandbits(128), version=4))
                maker.add(piece, id, n, number, every)
                number += 1
            piece.tokens.sort()
            yield piece


class _Day:
    """The rows of one day as they are made."""

    def __init__(self, customer: Customer, midnight: datetime, a_day: int, samples: Samples) -> None:
        self.day = day_of(midnight)
        self._keys = customer.keys
        self._midnight = midnight
        self._apart = 86_400_000_000 // a_day
        self._samples = samples
        self._index_key = self._keys.secret(leaf_of(self.day, 0), LABEL_INDEX)
        self._tokens: dict[int, tuple[int, ...]] = {}

    def add(self, piece: Piece, id: str, place: int, number: int, every: int) -> None:
        """Add a call; one in `every` calls is of each rare kind."""
        sample, leaf = self._samples.of(number, every), leaf_of(self.day, place + 1)
        row = _row(id, leaf, self._midnight + timedelta(microseconds=place * self._apart), number % every)
        sealed = self._keys.seal(leaf, LABEL_DETAILS, sample.packed, context(id))
        values = {**columns(row), **sample.clear, "node": 0, "session": None, "version": 1, "sealed": sealed}
        piece.calls.append(tuple([values[name] for name in COLUMNS]))
        if row.hold:
            piece.held.append(id)
        found = self._tokens.get(sample.number)
        if found is None:
            found = self._tokens[sample.number] = tokens(self._index_key, sample.forms)
        piece.tokens.extend([(self.day, token, leaf) for token in found])


def _row(id: str, leaf: int, begin: datetime, place: int) -> CallRow:
    """Make the row of a call that took a minute."""
    end = begin + timedelta(minutes=1)
    state = CallState.INTERRUPTED if place == 5 else CallState.COMPLETE
    after = end + timedelta(days=KEPT_DAYS)
    return CallRow(id, leaf, state, begin, end, 60_000, 700_000, hold=place == 4, erase_after=after)


class Sqlite:
    """A loader for a database file, which makes the indexes at the end."""

    def __init__(self, file: Path) -> None:
        self._base = sqlite3.connect(file, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-2000000", "locking_mode=EXCLUSIVE"):
            self._base.execute(f"PRAGMA {pragma}")
        for index in calls.indexes:
            self._base.execute(f"DROP INDEX {index.name}")
        self._base.execute("BEGIN")

    async def write(self, piece: Piece) -> None:
        """Write some rows."""
        marks = ",".join("?" * len(COLUMNS))
        self._base.executemany(f"INSERT INTO calls ({','.join(COLUMNS)}) VALUES ({marks})", piece.calls)  # noqa: S608 - of our own names
        self._base.executemany("INSERT INTO call_tokens (day, token, leaf) VALUES (?, ?, ?)", piece.tokens)

    async def finish(self) -> None:
        """Make the indexes."""
        self._base.execute("COMMIT")
        for index in calls.indexes:
            self._base.execute(str(CreateIndex(index).compile(dialect=sqlite.dialect())))
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.close()


class Postgresql:
    """A loader for a server's database, which makes the indexes at the end."""

    def __init__(self, base: asyncpg.Connection) -> None:
        self._base = base

    @classmethod
    async def open(cls, url: str) -> Postgresql:
        """Connect to the server."""
        place = sa.make_url(url)
        base = await asyncpg.connect(
            host=place.query["host"], user=place.username, database=place.database, command_timeout=None
        )
        for index in calls.indexes:
            await base.execute(f"DROP INDEX {index.name}")
        for table in ("calls", "call_tokens"):
            asked = "SELECT conname FROM pg_constraint WHERE conrelid = $1::regclass AND contype IN ('p', 'u')"
            for row in await base.fetch(asked, table):
                await base.execute(f"ALTER TABLE {table} DROP CONSTRAINT {row[0]}")
        return cls(base)

    async def write(self, piece: Piece) -> None:
        """Write some rows."""
        await self._base.copy_records_to_table("calls", records=piece.calls, columns=COLUMNS)
        await self._base.copy_records_to_table("call_tokens", records=piece.tokens, columns=["day", "token", "leaf"])

    async def finish(self) -> None:
        """Make the indexes, and analyse the tables for the query planner."""
        base = self._base
        await base.execute("SET maintenance_work_mem = '1GB'")
        await base.execute("ALTER TABLE calls ADD PRIMARY KEY (id), ADD UNIQUE (leaf)")
        await base.execute("ALTER TABLE call_tokens ADD PRIMARY KEY (day, token, leaf)")
        for index in calls.indexes:
            await base.execute(str(CreateIndex(index).compile(dialect=postgresql.dialect())))
        await base.execute("VACUUM ANALYZE")
        await base.close()


async def fill(config: Path, count: int) -> None:
    """Fill the only customer of a stopped node."""
    settings = load(config)
    customers = await open_customers(settings)
    (acme,) = customers.values()
    url = settings.storage.database
    file = acme.folder / "index.sqlite3"
    await acme.database.close()
    loader = Sqlite(file) if url == "sqlite" else await Postgresql.open(url.replace("{customer}", acme.name))
    held, of_day = list[str](), Counter[int]()
    for piece in pieces(acme, count, first_day()):
        await loader.write(piece)
        held += piece.held
        of_day[piece.day] += len(piece.calls)
    await loader.finish()
    acme.keys.skip(leaf_of(day, found) for day, found in of_day.items())
    async with acme.database.writing() as connection:
        values = [{"day": day, "leaf": leaf_of(day, 0), "calls": found} for day, found in of_day.items()]
        await connection.execute(days.insert(), values)
    for id in held:
        await acme.holds.put(id, "court", "bench")
    await customers.close()


def first_day() -> datetime:
    """Return the time at which the first call began."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)


# ---- requests ----
class Client:
    """One connection to the daemon."""

    def __init__(self, one: Node, headers: Mapping[str, str]) -> None:
        self._one = one
        self._there = http.client.HTTPConnection("127.0.0.1", one.api, timeout=120)
        self._headers = {**headers, "Accept-Encoding": "gzip"}
        self.connections = 0

    def ask(self, method: str, path: str, body: Any = None) -> tuple[float, bytes]:
        """Send a request; return the milliseconds to the first byte, and the body as it was sent."""
        data = None if body is None else json.dumps(body)
        begun = time.perf_counter()
        self._there.request(method, path, data, self._headers)
        answer = self._there.getresponse()
        took = (time.perf_counter() - begun) * 1000
        found = answer.read()
        if answer.status != http.client.OK:
            raise SystemExit(f"{method} {path}: {answer.status} {found[:500]!r}")
        return took, found

    def rest(self) -> None:
        """Close the connection, as the daemon does with an idle one; the next request opens another."""
        self._there.close()


@dataclass(frozen=True, slots=True)
class Measured:
    """The cost of one kind of request."""

    name: str
    """Name of the request."""
    cold_ms: float
    """Milliseconds of the first request, with the database dropped from the kernel's cache."""
    times_ms: Sequence[float]
    """Milliseconds to the first byte."""
    cpu_ms: float
    """CPU time of the daemon and the database server for a request."""
    size: int
    """Bytes of the body."""

    def row(self) -> str:
        """Return a line of the table."""
        first, usual = min(self.times_ms), sorted(self.times_ms)[len(self.times_ms) // 2]
        times = f"{first:.1f} | {usual:.1f} | {self.cold_ms:.1f} | {self.cpu_ms:.1f}"
        return f"| {self.name} | {times} | {self.size:,} |"


class Meter:
    """A client that also counts CPU time."""

    def __init__(self, pids: Sequence[int], database: Path) -> None:
        """Take the process ids of the daemon and the database server, and the folder that holds the database."""
        self._pids = pids
        self._database = database

    def measure(self, name: str, client: Client, times: int, method: str, path: str, body: Any = None) -> Measured:
        """Send a request once with a cold cache, then several times; print the figures."""
        client.rest()
        self._forget()
        cold, _ = client.ask(method, path, body)
        found, before = [], self.cpu_ms()
        for _ in range(times):
            took, data = client.ask(method, path, body)
            found.append(took)
        done = Measured(name, cold, found, (self.cpu_ms() - before) / times, len(data))
        print(done.row(), flush=True)
        return done

    def _forget(self) -> None:
        """Drop the database from the kernel's cache; the caches of SQLite or PostgreSQL stay warm."""
        for path in self._database.rglob("*"):
            if path.is_file():
                file = os.open(path, os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)

    def cpu_ms(self) -> float:
        """Return the CPU time of all threads so far."""
        threads = (thread for pid in self._pids for one in processes.family(pid) for thread in _threads(one))
        return sum(_nanoseconds(thread) for thread in threads) / 1e6

    def quiet(self) -> None:
        """Wait until the daemon has done its work after a start or a change of rules."""
        calm = 0
        while calm < CALM_SECONDS:
            before = self.cpu_ms()
            time.sleep(1)
            calm = calm + 1 if self.cpu_ms() - before < CALM_MS else 0


def _threads(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _nanoseconds(thread: Path) -> int:
    try:
        return int((thread / "schedstat").read_text().split()[0])
    except OSError:
        return 0  # ended meanwhile


def questions(began: datetime) -> dict[str, dict[str, Any]]:
    """Return the queries of lists by name."""
    middle = began + timedelta(days=DAYS // 2)
    cursor = Position(day_of(middle), to_micros(middle), "ffffffff-ffff-4fff-bfff-ffffffffffff")
    usual, common = everybody(PAIRS)[7], everybody(PAIRS)[7].first
    return {
        "all": {},
        "all, from the middle on": {"cursor": str(cursor)},
        "one day": {"since": rfc3339(middle), "until": rfc3339(middle + timedelta(days=1))},
        "complete": {"state": "complete"},
        "interrupted (rare)": {"state": "interrupted"},
        "held (rare)": {"hold": "true"},
        "not held": {"hold": "false"},
        "inbound": {"direction": "inbound"},
        "internal (rare)": {"direction": "internal"},
        "a source of a third": {"source": SBCS[0]},
        "a rare source": {"source": RARE_SBC},
        "a source nobody has": {"source": "198.51.100.1"},
        "a rare direction of a common source": {"source": SBCS[0], "direction": "internal"},
        "inbound and interrupted": {"direction": "inbound", "state": "interrupted"},
        "a number": {"party": usual.e164},
        "a rare number": {"party": RARE_PERSON.e164},
        "a number nobody has": {"party": "+4915112345678"},
        "a first name of a twentieth": {"party": common},
        "a name nobody has": {"party": "Zacharias Zweifel"},
        "a first name, interrupted": {"party": common, "state": "interrupted"},
        "a first name, internal": {"party": common, "direction": "internal"},
    }


def ask_lists(meter: Meter, api: Client, page: Client, base: str, began: datetime) -> list[Measured]:
    """Measure every list with the API, and a few on the page."""
    done = []
    for name, query in questions(began).items():
        path = f"{base}/calls?{urlencode({**query, 'limit': 50})}"
        done.append(meter.measure(name, api, TIMES, "GET", path))
    following = json.loads(api.ask("GET", f"{base}/calls?limit=50")[1])["next_cursor"]
    done.append(meter.measure("all, second page", api, TIMES, "GET", f"{base}/calls?limit=50&cursor={following}"))
    on_page = {"all": {}, "second page": {"cursor": following}, "a rare number": {"party": RARE_PERSON.e164}}
    for name, asked in on_page.items():
        done.append(meter.measure(f"page: {name}", page, TIMES, "GET", f"/calls?{urlencode(asked)}"))
    return done


def ask_previews(meter: Meter, api: Client, page: Client, base: str, days: int) -> list[Measured]:
    """Measure previews of rules that keep calls so many days; in the end, put such rules in force."""
    rules = {
        "no rule": [],
        "a rule about a direction": [{"days": days - 1, "direction": "internal"}],
        "a rule about a source": [{"days": days + 9, "source": RARE_SBC}],
        "a rule about a party": [{"days": days + 9, "party": RARE_PERSON.e164}],
    }
    done = []
    for name, each in rules.items():
        body = {"default_days": days, "rules": each}
        done.append(meter.measure(f"preview, {name}", api, FEW, "POST", f"{base}/retention/preview", body))
    api.ask("PUT", f"{base}/retention", {"default_days": days, "rules": []})
    meter.quiet()
    done.append(meter.measure("page: preview", page, FEW, "GET", "/retention/preview"))
    return done


def client_of_api(one: Node, token: str) -> Client:
    """Return a client of the API."""
    return Client(one, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})


def new_token(one: Node) -> str:
    """Make a token that may see everything."""
    words = [RECORDER, "token", "create", "--config", one.config, "--customer", customer(one), "--role", "privacy"]
    words += ["--role", "admin"]
    done = subprocess.run([*words, "--name", f"{WHO} token", "--json"], check=True, capture_output=True)
    return str(json.loads(done.stdout)["token"])


def customer(one: Node) -> str:
    """Return the name of the only customer of a node."""
    return load(one.config).customers[0].name


def signed_in(one: Node) -> Client:
    """Create an account and sign in to the page; return the browser."""
    words = [RECORDER, "admin", "create", WHO, "--config", one.config, "--role", "admin", "--role", "privacy"]
    done = subprocess.run([*words, "--json"], check=True, capture_output=True)
    given = parse_qs(urlsplit(json.loads(done.stdout)["link"]).query)
    form = {name: values[0] for name, values in given.items()} | {"password": PASSWORD, "again": PASSWORD}
    there = http.client.HTTPConnection("127.0.0.1", one.api, timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{one.api}"}
    there.request("POST", "/invitation", urlencode(form), headers)
    answer = there.getresponse()
    cookies = [value.partition(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie"]
    if not cookies:
        raise SystemExit(f"signing in failed: {answer.status} {answer.read()[-2000:]!r}")
    return Client(one, {"Cookie": "; ".join(cookies)})


# ---- the whole bench ----
@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of one run."""

    count: int
    """Calls in the index."""
    url: str
    """The database as the configuration names it."""
    database: Path | None
    """The folder of PostgreSQL's cluster; None for SQLite."""

    def prepare(self, config: Path) -> None:
        """Configure the node and fill its index."""
        text = config.read_text()
        for name, value in {
            "retention_days": str(KEPT_DAYS),
            "second_factor": '"optional"',
            "database": f'"{self.url}"',
        }.items():
            text = re.sub(f"(?m)^{name} = .*$", f"{name} = {value}", text)
        config.write_text(text)
        begun = time.perf_counter()
        asyncio.run(fill(config, self.count))
        print(f"{self.count:,} calls written in {time.perf_counter() - begun:.0f} s to {self.url.partition(':')[0]}")

    def run(self) -> bool:
        """Measure everything; return False if a goal was missed."""
        began = first_day()
        with node.running(prepare=self.prepare, ready=READY_SECONDS) as one:
            pids = [one.process.pid]
            if self.database is not None:
                pids.append(int((self.database / "postmaster.pid").read_text().split()[0]))
            place = self.database or load(one.config).node.data_dir / "customers" / customer(one)
            meter = Meter(pids, place)
            page, api = signed_in(one), client_of_api(one, new_token(one))
            meter.quiet()
            print(f"{processes.machine()}\n")
            print("| asked | first byte ms, least | median | cold | CPU ms | bytes |")
            print("|---|---|---|---|---|---|")
            base = f"/api/v1/customers/{customer(one)}"
            lists = ask_lists(meter, api, page, base, began)
            days = DAYS - max(1, round(DAYS * min(1.0, DUE / self.count)))
            previews = ask_previews(meter, api, page, base, max(days, 2))
        goal = LIST_GOAL_MS if self.count <= DUE else LARGE_GOAL_MS
        light = all(each.size <= PAGE_GOAL_BYTES for each in (*lists, *previews) if each.name.startswith("page"))
        fast = all(min(each.times_ms) <= goal for each in lists)
        return light and fast and all(min(each.times_ms) <= PREVIEW_GOAL_MS for each in previews)


def main(argv: Sequence[str] | None = None) -> bool:
    """Measure as asked for; return whether all goals were met."""
    parser = argparse.ArgumentParser(prog="bench.lists")
    parser.add_argument("calls", type=int, nargs="?", default=50_000)
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite; needs Debian's postgresql")
    given = parser.parse_args(argv)
    if not given.postgresql:
        return Plan(given.calls, "sqlite", None).run()
    with cluster() as server:
        server.start()
        return Plan(given.calls, server.url, server.log.with_name("data")).run()


if __name__ == "__main__":
    if not main():
        sys.exit("a goal was missed")
