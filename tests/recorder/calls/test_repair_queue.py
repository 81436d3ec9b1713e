"""Recordings that were not ended as they should be come into order, one at a time, as often as it takes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from recorder.calls import repair_queue
from recorder.calls.repair_queue import Left, RepairQueue
from recorder.persist.repair import Found
from storage.customer.customers import Customer
from storage.errors import DiskFailed, Forgotten, NoSpace
from tests.in_process.recorder_node import CONFIG, Stage


def left(one: Stage, first: str = "1", customer: str = "acme") -> Left:
    """Make a recording, named by the first digit of its id."""
    owner = one.customers[customer]
    return Left(owner, f"{first}1111111-2222-4333-8444-555555555555", owner.keys.allocate(20_000))


@pytest.fixture
def queue(one: Stage) -> RepairQueue:
    """Have a queue that repairs when it is asked."""
    return RepairQueue(one.node, one.resources.syncer, one.checkpoints.remove)


def answers(patch: pytest.MonkeyPatch, *outcomes: Exception | None) -> list[str]:
    """Let repairs come out like this, one after the other; return the calls that were tried."""
    tried, waiting = list[str](), list(outcomes)

    def repair(customer: object, call: str, leaf: int, document: object) -> Found:
        tried.append(call[0])
        problem = waiting.pop(0)
        if problem:
            raise problem
        return Found(call, leaf, None, 0)

    patch.setattr(repair_queue, "repair", repair)
    return tried


@pytest.mark.parametrize("problem", [NoSpace("full"), MemoryError(), RuntimeError("can't start new thread")])
async def test_a_repair_short_of_resources_is_tried_again(
    one: Stage, queue: RepairQueue, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    tried = answers(monkeypatch, problem, problem, None)
    queue.put(left(one))
    queue.put(left(one))  # the same one is queued once
    assert [await queue.round() for _ in range(3)] == [False, False, True]
    assert (tried, len(queue)) == (["1"] * 3, 0)


@pytest.mark.parametrize("problem", [Forgotten("erased"), RuntimeError("a bug")])
async def test_an_unrepairable_call_does_not_delay_the_others(
    one: Stage, queue: RepairQueue, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    tried = answers(monkeypatch, problem, None)
    for first in "12":
        queue.put(left(one, first))
    assert await queue.round() and tried == ["1", "2"]


async def test_an_index_is_whole_once_all_that_it_lacks_is_repaired(
    one: Stage, queue: RepairQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, NoSpace("full"), None, None)
    acme = one.customers["acme"]
    queue.put(left(one))
    assert await queue.whole("acme", 0.0)  # only a call without a row makes it incomplete
    queue.looking("acme")
    queue.put(replace(left(one), lacking=True))  # it was found to have none
    acme.gap.widen(20_000)
    queue.looked(acme)
    assert not await queue.round() and not await queue.whole("acme", 0.0) and len(queue) == 1
    assert acme.gap.first() == 20_000
    waiting = asyncio.ensure_future(queue.whole("acme", 60.0))
    queue.put(left(one, "2"))
    assert await queue.round() and await waiting
    assert acme.gap.first() is None


async def test_an_unclosable_gap_is_retried_and_reported_once(
    one: Stage, queue: RepairQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ill() -> None:
        raise DiskFailed("the disk is ill")

    acme, told = one.customers["acme"], list[object]()
    monkeypatch.setattr(one.node.log, "fault", lambda *args, **facts: told.append(args))
    acme.gap.widen(20_000)
    queue.looked(acme)
    with monkeypatch.context() as patch:
        patch.setattr(acme.gap, "close", ill)
        assert [await queue.round() for _ in range(3)] == [False] * 3
    assert len(told) == 1
    assert await queue.round() and acme.gap.first() is None


async def test_a_missing_index_is_probed_with_one_recording(
    one: Stage, queue: RepairQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be read as a whole every two seconds, and the recordings of other customers would wait meanwhile."""
    tried, away = list[str](), {"acme"}

    def repaired(customer: object, call: str, leaf: int, document: object) -> Found:
        tried.append(call[0])
        return Found(call, leaf, {"state": "complete"}, 0)

    async def index(customer: Customer, leaf: int, document: object) -> None:
        if customer.name in away:
            raise DiskFailed("away")

    async def repairs() -> str:
        tried.clear()
        assert await queue.round() is not bool(away)
        return "".join(tried)

    monkeypatch.setattr(repair_queue, "repair", repaired)
    monkeypatch.setattr(repair_queue, "index", index)
    for first in "123":
        queue.put(left(one, first))
    assert [await repairs() for _ in range(4)] == ["123", "1", "2", "3"], "first all, then each asks in its turn"
    queue.put(left(one, "4"))
    assert await repairs() == "14", "a new one is repaired though nobody can find it yet"
    away.clear()
    assert sorted(await repairs()) == ["1", "2", "3", "4"] and len(queue) == 0


@pytest.fixture
def config() -> str:
    return CONFIG + '[[customer]]\nname = "beta"\nsources = ["192.0.2.0/24"]\n'


async def test_one_customers_lost_index_delays_no_other(
    one: Stage, queue: RepairQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = answers(monkeypatch, *[None] * 4)
    for waiting in (*(left(one, first) for first in "123"), left(one, "9", "beta")):
        queue.put(waiting)
    assert await queue.round() and (len(tried), tried[1]) == (4, "9")


async def test_failed_repairs_are_retried_during_a_rebuild(
    one: Stage, queue: RepairQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = answers(monkeypatch, NoSpace("full"), *[None] * 5)
    monkeypatch.setattr(repair_queue, "ROUND", 2)
    monkeypatch.setattr(repair_queue, "AGAIN_SECONDS", 0.0)
    for waiting in (left(one, "9", "beta"), *(left(one, first) for first in "1234")):
        queue.put(waiting)
    one.node.tasks.start(queue.run(), "repairs")
    await one.until(lambda: not len(queue))
    assert len(tried) == 6 and "9" in tried[2:4]
