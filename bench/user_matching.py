"""Duration of matching calls with users: `python -m bench.user_matching [CALLS [USERS]]`, 20,000 and 10,000.

Fill one customer's index with generated calls (bench.people) and its directory with the people in them, then measure
the CPU time, which is how long it takes if nothing else uses the processors:

- loading the users into memory, and their size there;
- the first matching of all calls, extrapolated to a million;
- one new call, as the index writes it.

Every call must be matched with the users who are in it, and with no others.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bench import processes
from bench.people import COUNTRY, Person, everybody, talks
from bench.search import BATCH, SEED, Forms, opened, rows
from storage.calls.call_row import CallRow, Query
from storage.customer.customers import Customer
from storage.directory.user import Person as Entry
from storage.directory.user_lookup import UserLookup

GOAL_MILLION_S = 300.0
GOAL_ONE_MS = 1.0
PIECE = 500
SOME = 2000  # calls that are written again, to measure the time for one


@dataclass
class Spent:
    """CPU time of all threads of this process."""

    begun: float = 0.0
    seconds: float = 0.0

    def __enter__(self) -> Spent:
        self.begun = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self.begun


def entry(person: Person) -> Entry:
    """Return a person's directory entry, with five identities."""
    more = (f"sip:{person.mail}",)
    return Entry(person.first, person.last, person.user, person.mail, person.upn, person.user, (person.e164,), more)


@dataclass
class Filled:
    """The filled index and directory."""

    truth: list[tuple[str, tuple[Person, ...]]] = field(default_factory=list)
    """Ids of all calls with the people in them."""
    some: list[CallRow] = field(default_factory=list)
    """A few of the calls."""


async def fill(acme: Customer, count: int, crowd: list[Person]) -> Filled:
    """Write calls and users."""
    random, forms, filled = Random(SEED), Forms(), Filled()
    batch: list[tuple[CallRow, tuple[str, ...]]] = []
    for row, talk in rows(acme.keys, talks(count, crowd, [], 0, random), count, random):
        batch.append((row, forms.of(talk)))
        filled.truth.append((row.id, tuple(person for person, _ in talk.people)))
        if len(filled.some) < SOME:
            filled.some.append(row)
        if len(batch) == BATCH:
            await acme.calls.put([one for one, _ in batch], [two for _, two in batch])
            batch.clear()
    await acme.calls.put([one for one, _ in batch], [two for _, two in batch])
    plan = await acme.users.plan(map(entry, crowd), "csv", whole=True)
    for piece in plan.pieces(PIECE):
        await acme.users.carry_out(piece)
    await acme.users.completed(plan)
    return filled


async def wrong(acme: Customer, filled: Filled) -> int:
    """Count the calls whose users are not the people in them."""
    ids = {user.person.upn: user.id async for some in acme.users.all(PIECE) for user in some}
    due = {id: sorted(ids[person.upn] for person in people) for id, people in filled.truth}
    count = 0
    async for batch in acme.calls.in_batches(Query(), BATCH):
        for row in batch.open():
            count += sorted(str(party["user_id"]) for party in row.details["parties"]) != due[row.id]
    return count


async def measure(folder: Path, count: int, people: int) -> bool:
    """Fill, match and print; return False if a call has the wrong users or matching took too long."""
    customers = await opened(folder)
    acme = customers["acme"]
    filled = await fill(acme, count, everybody(people))
    print(f"{count:,} calls, {people:,} users\n{processes.machine()}\n")
    with Spent() as loading:
        await acme.user_matcher.load()
    with Spent() as looking:
        changed = await acme.user_matcher.settle()
    with Spent() as writing:
        for row in filled.some:
            acme.user_matcher.applied(row, ())
    mistakes = await wrong(acme, filled)
    each, one = looking.seconds / count, 1000 * writing.seconds / len(filled.some)
    print(f"users into memory       {loading.seconds:6.1f} s, {1e6 * loading.seconds / people:,.0f} µs each")
    print(f"first look at all calls {looking.seconds:6.1f} s, {1e6 * each:,.0f} µs each: {1e6 * each:,.0f} s a million")
    print(f"one new call            {one:6.3f} ms")
    print(f"calls changed {changed:,}, with the wrong users {mistakes}")
    print(f"bytes a user in memory  {await in_memory(acme):6,.0f}")
    await customers.close()
    return not mistakes and each * 1e6 <= GOAL_MILLION_S and one <= GOAL_ONE_MS


async def in_memory(acme: Customer) -> float:
    """Return the bytes that a user takes in memory."""
    tracemalloc.start()
    before, count = tracemalloc.get_traced_memory()[0], await acme.users.count()
    who = UserLookup(COUNTRY, secret=bytes(16), room=count)
    async for some in acme.users.all(PIECE):
        for user in some:
            who.put(user)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken / len(who)


def main() -> None:
    """Run the bench in a temporary folder; return exit status 1 if a goal is missed."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    people = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    with tempfile.TemporaryDirectory(prefix="bench-user-matching-") as folder:
        if not asyncio.run(measure(Path(folder), count, people)):
            sys.exit("a goal was missed: the right users in every call, a million within 300 s, a new one within 1 ms")


if __name__ == "__main__":
    main()
