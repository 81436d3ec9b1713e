"""Numbers for recordings are there before they are wanted."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest

from recorder.calls.context import Node
from recorder.calls.leaf_prefetch import DAY_SECONDS, LeafPrefetch
from recorder.session.events import Now
from tests.in_process.recorder_node import Stage


def prefetch(one: Stage) -> LeafPrefetch:
    return LeafPrefetch(one.customers, one.node.tasks, lambda: one.node.now())


def today(one: Stage) -> int:
    return int(one.node.now().wall.timestamp()) // DAY_SECONDS


async def test_they_are_fetched_once_while_there_are_few(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = one.node.now()
    monkeypatch.setattr(Node, "now", staticmethod(lambda: now))  # no day ends meanwhile
    keys, fetched, day = one.customers["acme"].keys, list[int](), today(one)
    refill = keys.refill
    monkeypatch.setattr(keys, "refill", lambda day: (refill(day), fetched.append(day)))
    numbering = prefetch(one)
    assert keys.low(day)
    numbering.fetch_due()
    numbering.fetch_due()
    await one.until(lambda: fetched and not one.node.tasks.names().count("numbers"))
    numbering.fetch_due()
    assert not one.node.tasks.names().count("numbers")
    assert fetched.count(day) == 1
    assert set(fetched) <= {day, day + 1}  # tomorrow's too, in the last minute of a day
    assert not keys.low(day)


async def test_tomorrows_leaves_are_fetched_before_midnight(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, numbering, day = one.customers["acme"].keys, prefetch(one), 20_000
    keys.refill(day)
    for seconds, fetched in ((DAY_SECONDS - 61, []), (DAY_SECONDS - 60, [day + 1]), (DAY_SECONDS, [day + 1])):
        moment = datetime.fromtimestamp(day * DAY_SECONDS + seconds, UTC)
        monkeypatch.setattr(Node, "now", staticmethod(partial(Now, moment, 0.0)))
        numbering.fetch_due()
        await one.until(lambda: not one.node.tasks.names().count("numbers"))
        assert [each for each in (day + 1, day + 2) if not keys.low(each)] == fetched
    late = datetime.fromtimestamp((day + 5) * DAY_SECONDS - 1, UTC)
    monkeypatch.setattr(Node, "now", staticmethod(partial(Now, late, 0.0)))
    for _ in range(2):  # one customer's at a time
        numbering.fetch_due()
        await one.until(lambda: not one.node.tasks.names().count("numbers"))
    assert not keys.low(day + 4)
    assert not keys.low(day + 5)
