"""Duration of a search among many calls: `python -m bench.search [CALLS]`, a million by default.

Fill one customer's index with generated calls of two years (bench.people), then search for people in every spelling.
Each kind of query searches for people who call often and for the sought, whose calls are known: for the sought, fetch
every page, which must list all of their calls and no others. Then measure lists: nobody, everybody, states, spans.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random

from bench import processes
from bench.people import COUNTRY, Kind, Person, Talk, confusable, everybody, finds, party, question, sought, talks
from bench.people import FIRST as FIRST_NAMES
from personal import Personal
from storage.calls.call_index import Calls
from storage.calls.call_row import DEFAULT_LIMIT, CallRow, CallState, Direction, Page, Query
from storage.calls.sealed_row import Keys
from storage.customer.customers import Customers, CustomerSettings
from storage.keys.root_secret import RootSecret
from storage.search_forms import stored
from storage.timestamps import day_of

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 730
BATCH = 2000  # calls of one transaction
SEED = 20261125
QUESTIONS = 200  # of each kind
PAGES = 5  # of a list
GOAL_MS = 50.0
LIST_GOAL_MS = 200.0  # for pages of a thousand: most of the time goes into opening the rows
SBCS, RARE = ("192.0.2.1", "192.0.2.2", "192.0.2.3"), "192.0.2.200"
STREAM = {"label": "1", "party": 0, "media": "audio", "codec": "PCMA", "packets": 9000, "lost": 0, "gap_ms": 0}


@dataclass
class Filled:
    """The filled index."""

    calls: Calls
    """The index."""
    crowd: list[Person]
    """Everybody else: the people who are not sought."""
    wanted: list[Person]
    """The sought."""
    truth: dict[tuple[Person, Kind], set[str]] = field(default_factory=dict)
    """Ids of the calls that a query of a kind for a sought person must find."""

    def note(self, id: str, talk: Talk) -> None:
        """Record which sought people are in a call, and which queries must find them there."""
        for person, writing in talk.people:
            for kind in Kind if person.last.endswith("quist") else ():
                if finds(kind, writing):
                    self.truth.setdefault((person, kind), set()).add(id)


@dataclass(frozen=True, slots=True)
class Found:
    """The results of one kind of query."""

    times_ms: list[float]
    """Time for each page, in milliseconds."""
    cpu_ms: list[float]
    """CPU time of all threads for each page: what it takes if nothing else uses the processors."""
    due: int = 0
    """Number of the sought people's calls that the queries must find."""
    missed: int = 0
    """Number of those calls that were not found."""
    wrong: int = 0
    """Number of calls that were found and should not have been."""


class Clock:
    """A search client that records the time for every page."""

    def __init__(self, calls: Calls) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._calls = calls

    async def find(self, query: Query) -> Page:
        """Fetch a page and record how long it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        page = await self._calls.find(query)
        self.wall.append((time.perf_counter() - wall) * 1000)
        self.cpu.append((time.process_time() - cpu) * 1000)
        return page

    async def everything(self, query: Query) -> list[str]:
        """Fetch every page; return the ids."""
        found: list[str] = []
        while True:
            page = await self.find(query)
            found += [one.id for one in page.items]
            if page.next_cursor is None:
                return found
            query = replace(query, cursor=page.next_cursor)


class Forms:
    """Search forms of people as they are written, each computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Person, int], tuple[str, ...]] = {}

    def of(self, talk: Talk) -> tuple[str, ...]:
        """Return the search forms of a call's people."""
        found: dict[str, None] = {}
        for one in talk.people:
            if one not in self._known:
                self._known[one] = stored(party(*one), COUNTRY)
            found.update(dict.fromkeys(self._known[one]))
        return tuple(found)


def row(keys: Keys, talk: Talk, begin: datetime, random: Random, number: int) -> CallRow:
    """Make the row of a call; a few are internal, come from the rare SBC, or are held."""
    leaf = keys.allocate(day_of(begin))
    details = {
        "session_id": "s",
        "parties": talk.parties,
        "streams": [STREAM, {**STREAM, "party": 1}],
        "direction": "internal" if number % 5003 == 0 else ("inbound", "outbound")[number % 2],
        "source": RARE if number % 20_011 == 0 else SBCS[number % len(SBCS)],
    }
    id = str(uuid.UUID(int=random.getrandbits(128), version=4))
    held = number % 10_007 == 0
    return CallRow(id, leaf, CallState.COMPLETE, begin, begin, 90_000, 700_000, hold=held, details=details)


def rows(keys: Keys, made: Iterator[Talk], count: int, random: Random) -> Iterator[tuple[CallRow, Talk]]:
    """Make the rows of all calls, spread evenly over the days."""
    for number, talk in enumerate(made):
        yield row(keys, talk, FIRST + timedelta(days=DAYS * number / count), random, number), talk


async def fill(calls: Calls, keys: Keys, count: int, people: int, seekers: int, each: int) -> Filled:
    """Write generated calls through the index, in batches."""
    random, forms = Random(SEED), Forms()
    wanted = sought(seekers)
    filled = Filled(calls, [*everybody(people), *confusable(wanted)], wanted)
    made = rows(keys, talks(count, filled.crowd, filled.wanted, each, random), count, random)
    while batch := list(islice(made, BATCH)):
        await calls.put([one for one, _ in batch], [forms.of(talk) for _, talk in batch])
        for one, talk in batch:
            filled.note(one.id, talk)
    return filled


async def ask(filled: Filled, kind: Kind, questions: int) -> Found:
    """Run one kind of query: half for anybody, half for the sought."""
    random, clock = Random(f"{SEED} {kind.value}"), Clock(filled.calls)
    due = missed = wrong = 0
    for _ in range(questions // 2):
        await clock.find(Query(party=Personal(question(random.choice(filled.crowd), kind, random))))
        person = random.choice(filled.wanted)
        found = await clock.everything(Query(party=Personal(question(person, kind, random))))
        meant = filled.truth.get((person, kind), set())
        due, missed = due + len(meant), missed + len(meant - set(found))
        wrong += len(found) - len(meant & set(found))
    return Found(clock.wall, clock.cpu, due, missed, wrong)


async def ask_common(filled: Filled, questions: int) -> Found:
    """Fetch the first page for first names that a twentieth of all people have, so each finds a tenth of all calls."""
    clock = Clock(filled.calls)
    for number in range(questions):
        page = await clock.find(Query(party=Personal(FIRST_NAMES[number % len(FIRST_NAMES)])))
        if len(page.items) < DEFAULT_LIMIT:
            raise RuntimeError("a first name fills a page")
    return Found(clock.wall, clock.cpu)


LISTS: dict[str, Callable[[Random], Query]] = {
    "a name nobody has": lambda random: Query(party=Personal(f"Xaver Q{random.randrange(10**6)}")),
    "a number nobody has": lambda random: Query(party=Personal(f"+4915{random.randrange(10**9):09}")),
    "no condition": lambda random: Query(),
    "a state that all have": lambda random: Query(state=CallState.COMPLETE),
    "a state that none has": lambda random: Query(state=CallState.INTERRUPTED),
    "a common first name in that state": lambda random: Query(
        party=Personal(random.choice(FIRST_NAMES)), state=CallState.INTERRUPTED
    ),
    "held": lambda random: Query(hold=True),
    "not held": lambda random: Query(hold=False),
    "a direction of half": lambda random: Query(direction=Direction.INBOUND),
    "a rare direction": lambda random: Query(direction=Direction.INTERNAL),
    "a source of a third": lambda random: Query(source=SBCS[0]),
    "a rare source": lambda random: Query(source=RARE),
    "a source nobody has": lambda random: Query(source="198.51.100.1"),
    "a rare direction of a common source": lambda random: Query(source=SBCS[0], direction=Direction.INTERNAL),
    "a common first name, a direction of half": lambda random: Query(
        party=Personal(random.choice(FIRST_NAMES)), direction=Direction.INBOUND
    ),
    "a common first name, a rare direction": lambda random: Query(
        party=Personal(random.choice(FIRST_NAMES)), direction=Direction.INTERNAL
    ),
    "three days": lambda random: _span(random, 3),
    "a common first name in 90 days": lambda random: replace(_span(random, 90), party=random.choice(FIRST_NAMES)),
    "a common first name, 1,000 at once": lambda random: Query(party=Personal(random.choice(FIRST_NAMES)), limit=1000),
}


def _span(random: Random, days: int) -> Query:
    since = FIRST + timedelta(days=random.randrange(DAYS - days))
    return Query(since=since, until=since + timedelta(days=days))


async def ask_list(filled: Filled, name: str, questions: int) -> Found:
    """Fetch the first pages of a list, up to five of each."""
    random, clock = Random(f"{SEED} {name}"), Clock(filled.calls)
    for _ in range(questions):
        query = LISTS[name](random)
        for _page in range(PAGES):
            page = await clock.find(query)
            if page.next_cursor is None:
                break
            query = replace(query, cursor=page.next_cursor)
    return Found(clock.wall, clock.cpu)


async def opened(folder: Path) -> Customers:
    """Open a new customer."""
    settings = [CustomerSettings("acme", country=COUNTRY)]
    root = RootSecret(bytes(range(32)))
    return await Customers.open(folder, root, settings, database="sqlite", now=lambda: datetime.now(UTC))


async def measure(folder: Path, count: int) -> bool:
    """Fill, search and print; return False if anything was missed, wrong or too slow."""
    customers = await opened(folder)
    acme = customers["acme"]
    begun = time.perf_counter()
    filled = await fill(acme.calls, acme.keys, count, people=20_000, seekers=100, each=37)
    took = time.perf_counter() - begun
    size = sum(file.stat().st_size for file in (folder / "customers" / "acme").glob("index.sqlite3*"))
    print(f"{count:,} calls of {DAYS} days, {len(filled.crowd):,} people, {size / count:,.0f} bytes a call")
    print(processes.machine())
    print(f"filled in {took:,.0f} s: {count / took:,.0f} calls/s\n")
    print("| question | pages | p50 ms | p95 ms | CPU ms, p95 | calls due | missed | wrong |")
    print("|---|---|---|---|---|---|---|---|")
    well = True
    for kind in Kind:
        well = told(kind.value, await ask(filled, kind, QUESTIONS)) and well
    well = told("a common first name", await ask_common(filled, QUESTIONS)) and well
    for name in LISTS:
        goal = LIST_GOAL_MS if name.endswith("at once") else GOAL_MS
        well = told(name, await ask_list(filled, name, QUESTIONS // PAGES), goal) and well
    await customers.close()
    return well


def told(what: str, found: Found, goal_ms: float = GOAL_MS) -> bool:
    """Print a row; return False if anything was missed, wrong or too slow."""
    p95 = quantile(found.times_ms, 0.95)
    times = [quantile(found.times_ms, 0.5), p95, quantile(found.cpu_ms, 0.95)]
    figures = " | ".join(f"{ms:.1f}" for ms in times)
    counts = f"{found.due:,} | {found.missed} | {found.wrong}"
    print(f"| {what} | {len(found.times_ms)} | {figures} | {counts} |", flush=True)
    return not found.missed and not found.wrong and p95 <= goal_ms


def quantile(values: list[float], share: float) -> float:
    """Return a quantile."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    """Run the bench in a temporary folder; return exit status 1 if a goal is missed."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
        if not asyncio.run(measure(Path(folder), count)):
            sys.exit("a goal was missed: every call found, no other, p95 within 50 ms")


if __name__ == "__main__":
    main()
