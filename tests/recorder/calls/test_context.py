"""What the parts of the daemon share: trouble is said once, incidents belong to somebody."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from recorder.calls import context
from tests.in_process.recorder_node import stage


def test_trouble_stops_calls_and_tells_who_decides(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            told: list[int] = []
            one.node.load_changed = lambda: told.append(1)
            one.node.storage.trouble(OSError(28, "full"))
            assert one.node.storage.well is False
            assert told == [1]
            assert b"recorder_storage_state 0.0" in one.node.metrics.page()

    asyncio.run(story())


def test_only_a_refused_call_is_an_incident(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            one.node.refused("INVITE", 403, "no-customer")
            one.node.refused("UPDATE", 488, "sdp", "acme")
            assert [i["reason"] for i in one.node.incidents.of("acme")] == ["no-customer"]

    asyncio.run(story())


def test_a_clock_that_was_set_back_is_known_to_be_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            wall, mono = context._BEGAN
            monkeypatch.setattr(context, "_BEGAN", (wall + timedelta(days=7), mono))
            assert abs(one.node.now().behind - timedelta(days=7)) < timedelta(hours=1)
            monkeypatch.setattr(context, "_BEGAN", (wall - timedelta(days=7), mono))
            assert one.node.now().behind == timedelta(0)

    asyncio.run(story())


def test_both_clocks_are_read_together(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            before, now = one.node.monotonic(), one.node.now()
            assert now.wall.tzinfo is not None
            assert before <= now.mono <= one.node.monotonic()
            assert now.behind < timedelta(hours=1)
            assert one.node.runtime_dir == tmp_path / "run"

    asyncio.run(story())
