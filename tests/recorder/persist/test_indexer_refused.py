"""A call that the index does not take keeps no other waiting, is named once, and is not taken for one that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from recorder.access.api_backend import Daemon
from recorder.persist import indexer as module
from recorder.persist.indexer import Indexer
from storage.calls.call_row import BadDetails, CallRow, CallState
from storage.errors import DatabaseFault
from tests.in_process.recorder_node import Stage
from tests.recorder.persist.staged import staged
from tests.recorder.persist.test_indexer import indexed, row

LARGE: Any = {"parties": [], "note": "x" * 400}


@pytest.mark.parametrize("problem", [BadDetails("too large"), DatabaseFault("refused"), ValueError("a bug")])
@staged
async def test_an_unwritable_call_is_reported_once_and_others_written(
    one: Stage, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    customer = one.node.customers["acme"]
    bad, good, late = (row(one, number) for number in (1, 2, 3))
    put, told, now, tries = type(customer.calls).put_in, list[Any](), [0.0], list[set[str]]()

    async def spoilt(self: object, on: AsyncConnection, rows: Sequence[CallRow], forms: Sequence[Sequence[str]]) -> int:
        tries.append({r.id for r in rows})
        if bad.id in tries[-1] and not mended:
            raise problem
        return await put(customer.calls, on, rows, forms)

    mended: list[bool] = []
    monkeypatch.setattr(type(customer.calls), "put_in", spoilt)
    here = Indexer(lambda: now[0], lambda call, error: told.append((call, type(error))))
    here.put(customer, bad, (), lambda: told.append(("done", str)))
    here.put(customer, good, ())
    assert await here._flush("acme")
    assert await indexed(one, good) is CallState.COMPLETE
    assert told == [(bad.id, type(problem))]
    tries.clear()
    here.put(customer, late, ())
    assert await here._flush("acme") and tries == [{late.id}]
    now[0] += module.REFUSED_SECONDS
    assert here.oldest() == now[0]
    assert not await here.hurry("acme", bad.id, 0.01), "a person is not told that all calls were found"
    here.put(customer, bad, ())
    assert await here._flush("acme")
    assert told == [(bad.id, type(problem))]
    mended.append(True)
    now[0] += module.REFUSED_SECONDS
    assert await here._flush("acme") and await indexed(one, bad) is CallState.COMPLETE
    assert told[1:] == [("done", str)] and here.oldest() == 0


@staged
async def test_a_database_that_takes_nothing_is_retried_at_once(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    customer, told = one.node.customers["acme"], list[str]()
    put = type(customer.calls).put_in

    async def refuse(*_: object) -> int:
        raise DatabaseFault("a table is gone")

    monkeypatch.setattr(type(customer.calls), "put_in", refuse)
    here = Indexer(lambda: 0.0, lambda call, error: told.append(call))
    calls = [row(one, number) for number in (1, 2)]
    for call in calls:
        here.put(customer, call, ())
    assert not await here._flush("acme") and told == []
    monkeypatch.setattr(type(customer.calls), "put_in", put)
    assert await here._flush("acme")
    assert [await indexed(one, call) for call in calls] == [CallState.COMPLETE] * 2


def too_large(one: Stage, monkeypatch: pytest.MonkeyPatch) -> CallRow:
    """Give a call that the index does not take."""
    monkeypatch.setattr("storage.calls.call_row.MAX_SEALED", 300)
    return replace(row(one, 1), details=LARGE)


@staged
async def test_a_refused_call_delays_no_other(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    customer, here = one.node.customers["acme"], one.node.indexer
    large = too_large(one, monkeypatch)
    here.put(customer, large, ())
    await one.until(lambda: here._waiting["acme"][large.id].again > 0)
    live = replace(row(one, 2, CallState.RECORDING), ended_at=None)
    here.put(customer, live, ())
    await one.until(lambda: list(here._waiting["acme"]) == [large.id])
    assert await indexed(one, live) is CallState.RECORDING
    here.put(customer, row(one, 3), ())
    await here.drain(30)
    assert here._idle.is_set() and list(here._waiting["acme"]) == [large.id]


@staged
async def test_an_erased_refused_call_is_no_longer_waited_for(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    customer, here = one.node.customers["acme"], one.node.indexer
    large = too_large(one, monkeypatch)
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.05)
    here.put(customer, large, ())
    assert not await here.hurry_all("acme", 0.5)
    customer.keys.cut(large.leaf)
    assert await here.hurry_all("acme", 30)
    assert here.oldest() == 0 and await indexed(one, large) is None


@staged
async def test_a_lone_call_is_not_blamed_for_a_database_failure(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL says so, too, while a standby is being promoted (25006)."""
    customer, told, now = one.node.customers["acme"], list[str](), [0.0]
    put, lone, other = type(customer.calls).put_in, row(one, 1), row(one, 2)

    async def refuse(*_: object) -> int:
        raise DatabaseFault("read only")

    here = Indexer(lambda: now[0], lambda call, error: told.append(call))
    here.put(customer, lone, ())
    with monkeypatch.context() as standby:
        standby.setattr(type(customer.calls), "put_in", refuse)
        assert not await here._flush("acme") and told == []
    assert await here._flush("acme") and await indexed(one, lone) is CallState.COMPLETE

    async def spoilt(_: object, on: AsyncConnection, rows: Sequence[CallRow], forms: Sequence[object]) -> int:
        if lone.id in {r.id for r in rows}:
            raise DatabaseFault("this one")
        return await put(customer.calls, on, rows, [()] * len(rows))

    monkeypatch.setattr(type(customer.calls), "put_in", spoilt)
    here.put(customer, lone, ())
    here.put(customer, other, ())
    assert await here._flush("acme") and told == [lone.id]
    now[0] += module.REFUSED_SECONDS
    assert await here._flush("acme"), "it is known by now, and is not tried again every second"


@staged
async def test_two_invalid_calls_are_postponed_like_one(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    customer, told = one.node.customers["acme"], list[str]()
    monkeypatch.setattr("storage.calls.call_row.MAX_SEALED", 300)
    here = Indexer(lambda: 0.0, lambda call, error: told.append(call))
    large = [replace(row(one, number), details=LARGE) for number in (1, 2)]
    for each in large:
        here.put(customer, each, ())
    assert await here._flush("acme")
    assert told == [each.id for each in large]


@staged
async def test_a_list_without_a_refused_call_is_incomplete(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    customer, here, daemon = (
        one.node.customers["acme"],
        one.node.indexer,
        Daemon(one.node, one.live, one.executor),
    )
    large = replace(row(one, 1), details=LARGE)
    with monkeypatch.context() as small:
        small.setattr("storage.calls.call_row.MAX_SEALED", 300)
        small.setattr(module, "REFUSED_SECONDS", 0.3)
        here.put(customer, large, ())
        assert not daemon.lacking("acme"), "it comes in a moment"
        await one.until(lambda: here._waiting["acme"][large.id].again)
        assert daemon.lacking("acme")
    await one.until(lambda: not here._waiting["acme"])
    assert not daemon.lacking("acme")
