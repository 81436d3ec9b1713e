"""Numbers for recordings are there before they are wanted."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from functools import partial

import pytest

from recorder.calls.context import Node
from recorder.calls.leaf_prefetch import DAY_SECONDS, LeafPrefetch
from recorder.session.events import Now
from storage.errors import NoSpace
from tests.in_process.recorder_node import Stage


def prefetch(one: Stage) -> LeafPrefetch:
    return LeafPrefetch(one.node.customers, one.node.tasks, lambda: one.node.now())


def today(one: Stage) -> int:
    return int(one.node.now().wall.timestamp()) // DAY_SECONDS


async def test_they_are_fetched_once_while_there_are_few(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, fetched, day = one.node.customers["acme"].keys, list[int](), today(one)
    refill = keys.refill
    monkeypatch.setattr(keys, "refill", lambda day: (refill(day), fetched.append(day)))
    numbering = prefetch(one)
    assert keys.low(day)
    numbering.tend()
    numbering.tend()
    await one.until(lambda: fetched and not one.node.tasks.names().count("numbers"))
    numbering.tend()
    assert not one.node.tasks.names().count("numbers")
    assert fetched.count(day) == 1
    assert set(fetched) <= {day, day + 1}  # tomorrow's too, in the last minute of a day and if it ends just now
    assert not keys.low(day)


async def test_tomorrows_leaves_are_fetched_before_midnight(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, numbering, day = one.node.customers["acme"].keys, prefetch(one), 20_000
    keys.refill(day)
    for seconds, fetched in ((DAY_SECONDS - 61, []), (DAY_SECONDS - 60, [day + 1]), (DAY_SECONDS, [day + 1])):
        moment = datetime.fromtimestamp(day * DAY_SECONDS + seconds, UTC)
        monkeypatch.setattr(Node, "now", staticmethod(partial(Now, moment, 0.0)))
        numbering.tend()
        await one.until(lambda: not one.node.tasks.names().count("numbers"))
        assert [each for each in (day + 1, day + 2) if not keys.low(each)] == fetched
    late = datetime.fromtimestamp((day + 5) * DAY_SECONDS - 1, UTC)
    monkeypatch.setattr(Node, "now", staticmethod(partial(Now, late, 0.0)))
    for _ in range(2):  # one customer's at a time
        numbering.tend()
        await one.until(lambda: not one.node.tasks.names().count("numbers"))
    assert not keys.low(day + 4)
    assert not keys.low(day + 5)


async def test_taking_a_leaf_does_not_wait_for_the_prefetch(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, day = one.node.customers["acme"].keys, today(one)
    leaves = keys._leaves
    begun, go, fetched = threading.Event(), threading.Event(), threading.Event()
    first = keys.allocate(day)
    advance = leaves._advance

    def slow(day: int, at_least: int | None) -> int:
        begun.set()
        go.wait(30)
        fetched.set()
        return advance(day, at_least)

    monkeypatch.setattr(leaves, "_advance", slow)
    fetching = asyncio.create_task(asyncio.to_thread(keys.refill, day))
    await asyncio.to_thread(begun.wait, 30)
    assert keys.allocate(day) == first + 1
    assert not fetched.is_set()
    go.set()
    await fetching


async def test_a_full_disk_is_asked_again(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, asked = one.node.customers["acme"].keys, list[int]()

    def full(day: int) -> None:
        asked.append(day)
        raise NoSpace("no space left")

    monkeypatch.setattr(keys, "refill", full)
    numbering = prefetch(one)
    for count in (1, 2):
        numbering.tend()
        await one.until(lambda count=count: len(asked) >= count and "numbers" not in one.node.tasks.names())  # type: ignore[misc]  # mypy infers no lambda with a default
    assert one.faults == []
