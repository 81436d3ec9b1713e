"""Recordings that were not ended as they should be come into order, one at a time, as often as it takes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.calls import repair_queue
from recorder.calls.repair_queue import Left
from recorder.persist.repair import Found
from storage.customer.customers import Customer
from storage.errors import DiskFailed, Forgotten, NoSpace
from tests.in_process.recorder_node import CONFIG, Stage, stage


def left(one: Stage, call: str = "11111111-2222-4333-8444-555555555555") -> Left:
    customer = one.node.customers["acme"]
    return Left(customer, call, customer.keys.allocate(20_000))


def answers(patch: pytest.MonkeyPatch, *outcomes: Exception | None) -> list[str]:
    """What repairing meets, one after the other; returns the calls that were tried."""
    tried: list[str] = []
    waiting = list(outcomes)

    def repair(customer: object, call: str, leaf: int, document: object) -> Found:
        tried.append(call)
        problem = waiting.pop(0)
        if problem:
            raise problem
        return Found(call, leaf, None, 0)

    patch.setattr(repair_queue, "repair", repair)
    return tried


@pytest.mark.parametrize("problem", [NoSpace("full"), MemoryError(), RuntimeError("can't start new thread")])
def test_a_repair_short_of_resources_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            tried = answers(monkeypatch, problem, problem, None)
            here = repair_queue.RepairQueue(one.node, one.checkpoints.remove)
            here.put(left(one))
            assert [await here.round() for _ in range(3)] == [False, False, True]
            assert len(tried) == 3
            assert len(here) == 0

    asyncio.run(story())


@pytest.mark.parametrize("problem", [Forgotten("erased"), RuntimeError("a bug")])
def test_an_unrepairable_call_does_not_delay_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            tried = answers(monkeypatch, problem, None)
            here = repair_queue.RepairQueue(one.node, one.checkpoints.remove)
            here.put(left(one))
            here.put(left(one, "21111111-2222-4333-8444-555555555555"))
            assert await here.round()
            assert len(tried) == 2

    asyncio.run(story())


def test_an_index_is_whole_once_all_that_it_lacks_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            answers(monkeypatch, NoSpace("full"), None, None)
            here, acme = repair_queue.RepairQueue(one.node, one.checkpoints.remove), one.node.customers["acme"]
            assert await here.whole("acme", 0.0)
            here.looking("acme")
            lacking, known = left(one), left(one, "21111111-2222-4333-8444-555555555555")
            here.put(replace(lacking, lacking=True))
            acme.gap.widen(20_000)
            here.looked(acme)
            assert not await here.round() and not await here.whole("acme", 0.0)
            assert acme.gap.first() == 20_000
            waiting = asyncio.ensure_future(here.whole("acme", 60.0))
            here.put(known)
            assert await here.round() and await waiting
            assert acme.gap.first() is None

    asyncio.run(story())


def test_only_a_call_without_a_row_makes_the_index_incomplete(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            here = repair_queue.RepairQueue(one.node, one.checkpoints.remove)
            here.put(left(one))
            assert await here.whole("acme", 0.0)
            here.put(replace(left(one), lacking=True))  # it was found to have none
            assert not await here.whole("acme", 0.0) and len(here) == 1

    asyncio.run(story())


def test_a_gap_that_cannot_be_closed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            here, acme = repair_queue.RepairQueue(one.node, one.checkpoints.remove), one.node.customers["acme"]
            acme.gap.widen(20_000)
            here.looked(acme)
            with monkeypatch.context() as patch:
                patch.setattr(acme.gap, "close", ill)
                assert not await here.round()
            assert await here.round() and acme.gap.first() is None

    asyncio.run(story())


def ill() -> None:
    raise DiskFailed("the disk is ill")


def test_a_missing_index_is_probed_with_one_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would be read as a whole every two seconds, and the recordings of other customers would wait meanwhile."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            tried: list[str] = []
            away = {"acme"}

            def repaired(customer: object, call: str, leaf: int, document: object) -> Found:
                tried.append(call[0])
                return Found(call, leaf, {"state": "complete"}, 0)

            async def index(customer: Customer, leaf: int, document: object) -> None:
                if customer.name in away:
                    raise DiskFailed("away")

            monkeypatch.setattr(repair_queue, "repair", repaired)
            monkeypatch.setattr(repair_queue, "index", index)
            here = repair_queue.RepairQueue(one.node, one.checkpoints.remove)
            for first in "123":
                here.put(left(one, f"{first}1111111-2222-4333-8444-555555555555"))
            for seen in ("123", "1", "2", "3"):
                tried.clear()
                assert not await here.round()
                assert "".join(tried) == seen, "at first each is repaired; then each asks in its turn"
            here.put(left(one, "41111111-2222-4333-8444-555555555555"))
            tried.clear()
            assert not await here.round()
            assert "".join(tried) == "14", "a new one is repaired though nobody can find it yet"
            away.clear()
            tried.clear()
            assert await here.round() and len(here) == 0
            assert sorted(tried) == ["1", "2", "3", "4"]

    asyncio.run(story())


def test_the_same_call_is_queued_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            here = repair_queue.RepairQueue(one.node, one.checkpoints.remove)
            here.put(left(one))
            here.put(left(one))
            assert len(here) == 1

    asyncio.run(story())


TWO = (
    CONFIG
    + """
[[customer]]
name = "beta"
sources = ["192.0.2.0/24"]
"""
)


def test_one_customers_lost_index_delays_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path, TWO) as one:
            tried = answers(monkeypatch, *[None] * 4)
            here, beta = repair_queue.RepairQueue(one.node, one.checkpoints.remove), one.node.customers["beta"]
            for number in range(3):
                here.put(left(one, f"{number}1111111-2222-4333-8444-555555555555"))
            theirs = "91111111-2222-4333-8444-555555555555"
            here.put(Left(beta, theirs, beta.keys.allocate(20_000)))
            assert await here.round() and len(tried) == 4
            assert tried[1] == theirs

    asyncio.run(story())


def test_failed_repairs_are_retried_during_a_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path, TWO) as one:
            tried = answers(monkeypatch, NoSpace("full"), *[None] * 5)
            monkeypatch.setattr(repair_queue, "ROUND", 2)
            monkeypatch.setattr(repair_queue, "AGAIN_SECONDS", 0.0)
            here, beta = repair_queue.RepairQueue(one.node, one.checkpoints.remove), one.node.customers["beta"]
            theirs = "91111111-2222-4333-8444-555555555555"
            here.put(Left(beta, theirs, beta.keys.allocate(20_000)))
            for number in range(4):
                here.put(left(one, f"{number}1111111-2222-4333-8444-555555555555"))
            one.node.tasks.start(here.run(), "mending")
            await one.until(lambda: not len(here))
            assert len(tried) == 6 and theirs in tried[2:4]

    asyncio.run(story())


def test_a_gap_that_cannot_be_closed_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            told: list[object] = []
            monkeypatch.setattr(type(one.node.log), "fault", lambda self, *args, **facts: told.append(args))
            here, acme = repair_queue.RepairQueue(one.node, one.checkpoints.remove), one.node.customers["acme"]
            monkeypatch.setattr(acme.gap, "close", ill)
            here.looked(acme)
            assert [await here.round() for _ in range(3)] == [False] * 3
            assert len(told) == 1

    asyncio.run(story())
