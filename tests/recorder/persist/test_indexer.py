"""Calls reach the database in batches, soon where somebody waits, and one that is refused delays no other."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from recorder.persist import indexer as module
from recorder.persist.indexer import Indexer
from storage.calls.call_index import Calls
from storage.calls.call_row import BadDetails, CallRow, CallState
from storage.customer.customers import Customer
from storage.directory.matcher import UserMatcher
from storage.directory.user import Person
from storage.errors import DatabaseFault, DiskFailed
from storage.retention.policy import Policy
from storage.retention.rules import Rules
from tests.in_process.recorder_node import Stage
from tests.in_process.storage_node import NOON, StorageNode
from tests.in_process.waiting import until

MIRA = Person("Mira", "Okafor", "mira", "mira@x.example", numbers=("+4930123456",))
LARGE: Any = {"parties": [], "note": "x" * 400}


@pytest.fixture
def acme(loop: asyncio.Runner, tmp_path: Path) -> Iterator[Customer]:
    customer = loop.run(StorageNode(tmp_path / "data").open())
    yield customer
    loop.run(customer.close())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLUSH_SECONDS", "REST_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(module, name, 0.001)


@asynccontextmanager
async def indexing(clock: Callable[[], float] = time.monotonic) -> AsyncIterator[tuple[Indexer, list[Any]]]:
    """Run an indexer; gives the faults that it reports, too."""
    faults: list[Any] = []
    here = Indexer(clock, lambda call, problem: faults.append((call, type(problem))))
    running = asyncio.create_task(here.run())
    yield here, faults
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def row(acme: Customer, number: int, state: CallState = CallState.COMPLETE, **more: Any) -> CallRow:
    ended = None if state is CallState.RECORDING else NOON
    call, leaf = f"{number:08d}-2222-4333-8444-555555555555", acme.keys.allocate(20_513)
    return replace(CallRow(call, leaf, state, NOON, ended, 10, 0, False, None, {"parties": []}), **more)


async def states(acme: Customer, *calls: CallRow) -> list[CallState | None]:
    found = [await acme.calls.get(call.id) for call in calls]
    return [each.state if each else None for each in found]


async def test_the_newest_state_of_a_call_is_written(acme: Customer) -> None:
    live, done, now = row(acme, 1, CallState.RECORDING), list[int](), [0.0]
    async with indexing(lambda: now[0]) as (here, _):

        def made() -> tuple[CallRow, tuple[str, ...]]:
            """The call ends while its row is written."""
            here.put(acme, replace(live, state=CallState.COMPLETE, ended_at=NOON), (), lambda: done.append(2))
            return live, ()

        here.put(acme, live, (), lambda: done.append(1))
        now[0] = 5.0
        here.put_later(acme, live.id, live.leaf, NOON, made, live=True)
        assert here.oldest() == 5
        await here.drain(30)
        assert (await states(acme, live), done, here.oldest()) == ([CallState.COMPLETE], [1, 2], 0)


async def test_the_loop_sees_to_others_while_a_batch_is_made(acme: Customer) -> None:
    turn, made = [0], list[int]()

    async def others() -> None:
        while True:
            turn[0] += 1
            await asyncio.sleep(0)

    def make(call: CallRow) -> tuple[CallRow, tuple[str, ...]]:
        made.append(turn[0])
        return call, ()

    async with indexing() as (here, _):
        ticking = asyncio.create_task(others())
        for call in [row(acme, number) for number in range(25)]:
            here.put_later(acme, call.id, call.leaf, call.started_at, partial(make, call), live=False)
        await here.drain(30)
        ticking.cancel()
    assert len(made) == 25
    assert max(Counter(made).values()) <= module.FEW


async def test_what_somebody_waits_for_is_written_at_once(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 60.0)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 3_600.0)
    over, *live = row(acme, 1), *(row(acme, number, CallState.RECORDING) for number in range(2, 6))
    async with indexing() as (here, _):
        here.put(acme, over, ())
        assert await here.hurry("acme", over.id, 30)
        here.put(acme, live[0], ())
        waiting = asyncio.create_task(here.hurry("acme", live[0].id, 30))
        await asyncio.sleep(0)
        here.put(acme, replace(live[0], duration_ms=20), ())
        assert await waiting
        for call in live[1:3]:
            here.put(acme, call, ())
        assert await here.hurry_all("acme", 30)
        assert await states(acme, over, *live) == [CallState.COMPLETE, *[CallState.RECORDING] * 3, None]
        assert await here.hurry("acme", over.id, 30) and await here.hurry_all("nobody", 5)
        here.put(acme, live[3], ())
        await here.drain(30)
        assert await states(acme, live[3]) == [CallState.RECORDING]


async def test_unsettled_calls_are_not_polled(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.3)
    reads = list[float]()

    def clock() -> float:
        reads.append(time.monotonic())
        return reads[-1]

    calls = [row(acme, 1, CallState.RECORDING), row(acme, 2, CallState.RECORDING), row(acme, 3)]
    async with indexing(clock) as (here, _):
        for call in calls:
            here.put(acme, call, ())
            await asyncio.sleep(0.02)
        await until(lambda: not any(here.pending("acme", call.id) for call in calls))
    assert await states(acme, *calls) == [call.state for call in calls]
    assert len(reads) < 60  # some ten a look: at the one that had ended, and when each of the others had settled


async def test_a_finished_call_is_kept_as_long_as_the_rules_say(acme: Customer) -> None:
    call = row(acme, 1)
    await acme.rules.put([], by="test", default_days=3)
    async with indexing() as (here, _):
        here.put(acme, call, ())
        await here.drain(30)
    found = await acme.calls.get(call.id)
    assert found and found.erase_after == NOON + timedelta(days=3)


async def test_a_call_written_while_users_load_is_matched(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = (UserMatcher(acme.database, acme.keys, acme.calls, acme.users, acme.rules, "DE") for _ in range(2))
    await acme.users.carry_out(await acme.users.plan([MIRA], "csv", whole=False))
    await other.load()
    await other.settle()  # finds no calls
    policy_in = Rules.policy_in

    async def slow(self: Rules, connection: AsyncConnection) -> Policy:
        if not mine.ready:
            await mine.load()
        return await policy_in(self, connection)

    monkeypatch.setattr(Rules, "policy_in", slow)
    monkeypatch.setattr(type(acme), "user_matcher", property(lambda _: mine))
    async with indexing() as (here, faults):
        here.put(acme, row(acme, 1), ())
        await here.drain(30)
    assert ((await mine.outstanding()).calls, faults) == (1, [])


@pytest.mark.parametrize(
    ("problem", "count"),
    [
        (DiskFailed("away"), 2),
        (MemoryError(), 2),
        (OSError(24, "too many open files"), 2),
        (RuntimeError("can't start new thread"), 2),
        (DatabaseFault("a table is gone"), 2),
        (DatabaseFault("read only, as PostgreSQL says while a standby is promoted (25006)"), 1),
    ],
)
async def test_a_failure_that_is_no_calls_fault_is_retried_soon(
    acme: Customer, monkeypatch: pytest.MonkeyPatch, problem: Exception, count: int
) -> None:
    calls, tries, put = [row(acme, number) for number in range(count)], list[int](), Calls.put_in

    async def refuse(self: Calls, on: AsyncConnection, rows: Sequence[CallRow], forms: Any) -> int:
        tries.append(len(rows))
        if tries.count(count) > 3:
            return await put(self, on, rows, forms)
        raise problem

    monkeypatch.setattr(Calls, "put_in", refuse)
    async with indexing() as (here, faults):
        for call in calls:
            here.put(acme, call, ())
        await here.drain(30)
    assert (await states(acme, *calls), faults) == ([CallState.COMPLETE] * count, [])


@pytest.mark.parametrize("problem", [BadDetails("too large"), DatabaseFault("refused"), ValueError("a bug")])
async def test_a_refused_call_is_reported_once_and_others_are_written(
    acme: Customer, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    bad, good, late = (row(acme, number) for number in (1, 2, 3))
    put, now, tries, mended, done = Calls.put_in, [0.0], list[set[str]](), list[bool](), list[bool]()

    async def spoilt(self: Calls, on: AsyncConnection, rows: Sequence[CallRow], forms: Any) -> int:
        tries.append({each.id for each in rows})
        if bad.id in tries[-1] and not mended:
            raise problem
        return await put(self, on, rows, forms)

    monkeypatch.setattr(Calls, "put_in", spoilt)
    async with indexing(lambda: now[0]) as (here, faults):
        here.put(acme, bad, (), lambda: done.append(True))
        here.put(acme, good, ())
        await until(lambda: faults and not here.pending("acme", good.id))
        tries.clear()
        here.put(acme, late, ())
        assert await here.hurry("acme", late.id, 30) and tries == [{late.id}]
        now[0] += module.REFUSED_SECONDS
        assert here.oldest() == now[0]
        assert not await here.hurry("acme", bad.id, 0.1), "a person is not told that all calls were found"
        await until(lambda: tries[1:])
        assert not any(late.id in each for each in tries[1:])
        tries.clear()
        here.put(acme, replace(bad, duration_ms=20), ())
        await asyncio.sleep(0.02)
        assert (tries, faults, done) == ([], [(bad.id, type(problem))], [])
        mended.append(True)
        now[0] += module.REFUSED_SECONDS
        assert await here.hurry("acme", bad.id, 30)
        assert (here.oldest(), done, len(faults)) == (0, [True], 1)
    assert await states(acme, bad, good, late) == [CallState.COMPLETE] * 3


async def test_refused_calls_delay_no_other(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.calls.call_row.MAX_SEALED", 300)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.01)
    large = [row(acme, number, details=LARGE) for number in (1, 2)]
    live, over = row(acme, 3, CallState.RECORDING), row(acme, 4)
    async with indexing() as (here, faults):
        for call in large:
            here.put(acme, call, ())
        await until(lambda: len(faults) == 2)
        here.put(acme, live, ())
        await until(lambda: not here.pending("acme", live.id))
        here.put(acme, over, ())
        await here.drain(30)
        assert await states(acme, *large, live, over) == [None, None, CallState.RECORDING, CallState.COMPLETE]
        assert all(here.pending("acme", call.id) for call in large)
    assert faults == [(call.id, BadDetails) for call in large]


async def test_an_erased_refused_call_is_no_longer_waited_for(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.calls.call_row.MAX_SEALED", 300)
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.02)
    large = row(acme, 1, details=LARGE)
    async with indexing() as (here, _):
        here.put(acme, large, ())
        assert not await here.hurry_all("acme", 0.2)
        acme.keys.cut(large.leaf)
        assert await here.hurry_all("acme", 30)
        assert here.oldest() == 0 and await states(acme, large) == [None]


async def test_a_list_without_a_refused_call_is_incomplete(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon, acme = one.backend(), one.customers["acme"]
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.1)
    with monkeypatch.context() as small:
        small.setattr("storage.calls.call_row.MAX_SEALED", 300)
        one.indexer.put(acme, row(acme, 1, details=LARGE), ())
        assert not daemon.lacking("acme"), "it comes in a moment"
        await until(lambda: daemon.lacking("acme"))
    await until(lambda: not daemon.lacking("acme"))
