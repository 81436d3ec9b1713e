"""The index: batched, newest first, retried, and one bad call holds up nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from recorder.persist import indexer as module
from recorder.persist.indexer import Indexer
from storage.calls.call_row import CallRow, CallState
from storage.database.database import Database
from storage.directory.matcher import Correlation
from storage.directory.user import Person
from storage.errors import DiskFailed
from storage.retention.policy import Policy
from storage.retention.rules import Rules
from tests.in_process.recorder_node import Stage
from tests.recorder.persist.staged import staged

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIRA = Person("Mira", "Okafor", "mira", "mira@x.example", numbers=("+4930123456",))


Forms = Sequence[Sequence[str]]


def row(one: Stage, number: int, state: CallState = CallState.COMPLETE) -> CallRow:
    leaf = one.node.customers["acme"].keys.allocate(20_513)
    return CallRow(
        f"{number:08d}-2222-4333-8444-555555555555", leaf, state, NOON, NOON, 10, 0, False, None, {"parties": []}
    )


async def indexed(one: Stage, call: CallRow) -> CallState | None:
    found = await one.node.customers["acme"].calls.get(call.id)
    return found.state if found else None


@staged
async def test_the_newest_state_is_written_and_said(one: Stage) -> None:
    first, done = row(one, 1, CallState.RECORDING), []
    customer = one.node.customers["acme"]
    one.node.indexer.put(customer, first, ())
    one.node.indexer.put(customer, replace(first, state=CallState.COMPLETE), (), lambda: done.append(1))
    assert one.node.indexer.oldest() >= 0
    await one.node.indexer.drain(30)
    assert await indexed(one, first) is CallState.COMPLETE
    assert done == [1]
    assert one.node.indexer.oldest() == 0


@staged
async def test_many_calls_at_once_let_the_next_ones_gather(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    customer, rests = one.node.customers["acme"], []
    rest = Indexer._rest

    async def noted(self: Indexer, seconds: float) -> None:
        rests.append(seconds)
        await rest(self, seconds if len(rests) == 1 else 0.0)

    monkeypatch.setattr(Indexer, "_rest", noted)
    monkeypatch.setattr(module, "REST", 0)
    for number in range(60):
        one.node.indexer.put(customer, row(one, number + 1), ())
    await one.until(one.node.indexer._idle.is_set)
    one.node.indexer.put(customer, row(one, 99), ())
    await one.until(one.node.indexer._idle.is_set)
    one.node.indexer.put(customer, row(one, 100), ())
    await one.until(one.node.indexer._idle.is_set)
    assert rests[:3] == [module.FLUSH_SECONDS, module.REST_SECONDS, module.REST_SECONDS]


@staged
async def test_the_loop_sees_to_others_while_a_batch_is_made(one: Stage) -> None:
    turn, made = [0], list[int]()

    async def others() -> None:
        while True:
            turn[0] += 1
            await asyncio.sleep(0)

    def make(call: CallRow) -> tuple[CallRow, tuple[str, ...]]:
        made.append(turn[0])
        return call, ()

    ticking = asyncio.create_task(others())
    for call in [row(one, number) for number in range(25)]:
        one.node.indexer.put_later(
            one.node.customers["acme"],
            *(call.id, call.leaf, call.started_at),
            partial(make, call),
            live=False,
        )
    await one.node.indexer.drain(30)
    ticking.cancel()
    assert len(made) == 25
    assert max(Counter(made).values()) <= module.FEW


@staged
async def test_an_awaited_call_is_written_ahead_of_the_batch(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 60.0)
    customer, here = one.node.customers["acme"], one.node.indexer
    first, second = row(one, 1), row(one, 2)
    here.put(customer, first, ())
    assert await here.hurry("acme", first.id, 30)
    here.put(customer, second, ())
    await here.drain(30)
    assert await indexed(one, second) is CallState.COMPLETE


@staged
async def test_the_indexer_retries_an_unavailable_database(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = one.node.customers["acme"]
    put, tries = type(customer.calls).put_in, []

    async def away(self: object, on: AsyncConnection, rows: Sequence[CallRow], forms: Sequence[Sequence[str]]) -> int:
        tries.append(len(rows))
        if len(tries) < 3:
            raise DiskFailed("away")
        return await put(customer.calls, on, rows, forms)

    monkeypatch.setattr(type(customer.calls), "put_in", away)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    call = row(one, 1)
    one.node.indexer.put(customer, call, ())
    await one.node.indexer.drain(30)
    assert tries == [1, 1, 1]
    assert await indexed(one, call) is CallState.COMPLETE


@staged
async def test_a_live_call_that_is_wanted_now_is_written_now(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 3_600.0)
    customer, here = one.node.customers["acme"], one.node.indexer
    call = replace(row(one, 1, CallState.RECORDING), ended_at=None)
    here.put(customer, call, ())
    waiting = asyncio.create_task(here.hurry("acme", call.id, 30))  # it would settle for long
    await asyncio.sleep(0)
    here.put(customer, replace(call, duration_ms=20), ())
    assert await waiting
    assert await indexed(one, call) is CallState.RECORDING
    assert await here.hurry("acme", call.id, 30)


@staged
async def test_hurrying_ends_where_the_database_does_not_answer(one: Stage) -> None:
    here = Indexer(lambda: 0.0, lambda call, error: None)  # nobody runs it
    call = row(one, 1)
    here.put(one.node.customers["acme"], call, ())
    assert not await here.hurry("acme", call.id, 0.01)


@staged
async def test_a_finished_call_is_kept_as_long_as_the_rules_say(one: Stage) -> None:
    customer, call = one.node.customers["acme"], row(one, 1)
    await customer.rules.put([], by="test", default_days=3)
    one.node.indexer.put(customer, call, ())
    await one.node.indexer.drain(30)
    found = await customer.calls.get(call.id)
    assert found and found.erase_after == NOON + timedelta(days=3)


@staged
async def test_a_call_written_while_users_load_is_matched(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = one.node.customers["acme"]
    mine, other = (
        Correlation(customer.database, customer.keys, customer.calls, customer.users, customer.rules, "DE")
        for _ in range(2)
    )
    plan = await customer.users.plan([MIRA], "csv", whole=False)
    await customer.users.carry_out(plan)
    await other.load()
    await other.settle()  # finds no calls
    policy_in = Rules.policy_in

    async def slow(self: Rules, connection: AsyncConnection) -> Policy:
        if not mine.ready:
            await mine.load()
        return await policy_in(self, connection)

    monkeypatch.setattr(Rules, "policy_in", slow)
    told: list[object] = []
    here = Indexer(lambda: 0.0, lambda call, error: told.append(error))
    monkeypatch.setattr(type(customer), "correlation", property(lambda _: mine))
    here.put(customer, row(one, 1), ())
    assert await here._flush("acme") and told == []
    assert (await mine.outstanding()).calls == 1


@staged
async def test_draining_does_not_wait_for_ever(one: Stage) -> None:
    here = Indexer(lambda: 0.0, lambda call, error: None)
    here.put(one.node.customers["acme"], row(one, 1), ())
    await here.drain(0.01)
    assert not here._idle.is_set()


@staged
async def test_all_that_waits_of_a_customer_can_be_hurried(one: Stage) -> None:
    here, customer = one.node.indexer, one.node.customers["acme"]
    calls = [row(one, number, CallState.RECORDING) for number in (1, 2)]
    for call in calls:
        here.put(customer, call, ())
    assert await here.hurry_all("acme", 30)
    assert [await indexed(one, call) for call in calls] == [CallState.RECORDING] * 2
    assert await here.hurry_all("nobody", 5)


@pytest.mark.parametrize(
    "problem", [MemoryError(), OSError(24, "too many open files"), RuntimeError("can't start new thread")]
)
@staged
async def test_want_of_memory_or_descriptors_is_no_fault_of_a_call(
    one: Stage, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    customer = one.node.customers["acme"]
    calls, told = [row(one, 1), row(one, 2)], []
    put = type(customer.calls).put_in

    async def refuse(self: object, on: AsyncConnection, rows: Sequence[CallRow], forms: Sequence[Sequence[str]]) -> int:
        raise problem

    monkeypatch.setattr(type(customer.calls), "put_in", refuse)
    here = Indexer(lambda: 0.0, lambda call, error: told.append(call))
    for call in calls:
        here.put(customer, call, ())
    assert not await here._flush("acme")
    monkeypatch.setattr(type(customer.calls), "put_in", put)
    assert await here._flush("acme")
    assert [await indexed(one, call) for call in calls] == [CallState.COMPLETE] * 2
    assert told == []


@staged
async def test_more_than_a_batch_does_not_rest_for_each_call(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    customer, rests = one.node.customers["acme"], []

    async def noted(self: Indexer, seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(Indexer, "_rest", noted)
    monkeypatch.setattr(module, "BATCH", 50)
    monkeypatch.setattr(module, "REST", 0)
    monkeypatch.setattr(module, "REST_SECONDS", 1_000.0)
    monkeypatch.setattr(one.node.indexer, "_clock", lambda: 0.0)  # no transaction takes long here
    for number in range(110):
        one.node.indexer.put(customer, row(one, number + 1), ())
    await one.until(one.node.indexer._idle.is_set)
    one.node.indexer.put(customer, row(one, 999), ())
    await one.until(one.node.indexer._idle.is_set)
    assert max(rests[:3]) < module.MOST_SECONDS == rests[3]


@staged
async def test_a_query_before_a_write_shares_its_transaction(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, writing = [], Database.writing
    customer = one.node.customers["acme"]

    @asynccontextmanager
    async def noted(self: Database) -> AsyncIterator[AsyncConnection]:
        async with writing(self) as connection:
            begun.append(1)
            yield connection

    monkeypatch.setattr(Database, "writing", noted)
    monkeypatch.setattr(Database, "reading", None)
    one.node.indexer.put(customer, row(one, 1), ())
    await one.node.indexer.drain(30)
    assert one.node.indexer._idle.is_set() and begun == [1]


@staged
async def test_unsettled_calls_are_not_polled(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.3)
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.001)
    customer, here, looks, flush = one.node.customers["acme"], one.node.indexer, [], Indexer._flush

    async def noted(self: Indexer, name: str) -> bool:
        looks.append(1)
        return await flush(self, name)

    monkeypatch.setattr(Indexer, "_flush", noted)
    live = [replace(row(one, n, CallState.RECORDING), ended_at=None) for n in (1, 2)]
    here.put(customer, live[0], ())
    await asyncio.sleep(0.05)
    here.put(customer, live[1], ())
    here.put(customer, row(one, 3), ())
    await one.until(here._idle.is_set)
    assert [await indexed(one, call) for call in live] == [CallState.RECORDING] * 2
    assert len(looks) <= 3  # at the one that had ended, and when each of the others had settled


@staged
async def test_draining_writes_young_calls_at_once(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 3_600.0)
    call, here = replace(row(one, 1, CallState.RECORDING), ended_at=None), one.node.indexer
    here.put(one.node.customers["acme"], call, ())
    await here.drain(30)
    assert here._idle.is_set()
    assert await indexed(one, call) is CallState.RECORDING
