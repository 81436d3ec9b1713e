"""Databases are opened behind the service; one that is away is told once and tried until it is back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from recorder.calls import databases
from recorder.calls.databases import Databases
from storage.database.database import DatabaseAway
from tests.in_process.recorder_node import Stage, stage


class Said:
    """Keeps what the log is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def warning(self, event: str, **facts: Any) -> None:
        self.events.append((event, facts["customer"]))

    info = warning


def opens_after(one: Stage, failures: int, problem: Exception | None = None) -> list[int]:
    """Let the database of acme be away so many times, or something else be wrong; gives the tries."""
    tries: list[int] = []

    async def open_database() -> None:
        tries.append(1)
        if len(tries) <= failures:
            raise problem or DatabaseAway("away")

    one.node.customers["acme"].open_database = open_database
    return tries


def test_a_database_that_is_there_is_open_when_a_start_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            tries = opens_after(one, 0)
            opening = Databases(one.node)
            opening.start()
            await opening.settled()
            assert len(tries) == 1
            assert not one.node.incidents.of("acme")

    asyncio.run(story())


def test_an_unavailable_database_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "AGAIN_SECONDS", 0.01)

    async def story() -> None:
        async with stage(tmp_path) as one:
            tries = opens_after(one, 3)
            opening = Databases(one.node)
            opening.start()
            await opening.settled(0.0)
            await one.until(lambda: len(tries) == 4)
            await opening.settled()
            told = [(incident["kind"], incident["count"]) for incident in one.node.incidents.of("acme")]
            assert told == [("database-away", 1)]

    asyncio.run(story())


@pytest.mark.parametrize("problem", [MemoryError(), RuntimeError("can't start new thread"), OSError(24, "descriptors")])
def test_a_database_short_of_resources_opens_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    """Calls are recorded already, and may have what opening it needs."""
    monkeypatch.setattr(databases, "AGAIN_SECONDS", 0.01)

    async def story() -> None:
        async with stage(tmp_path) as one:
            tries = opens_after(one, 1, problem)
            opening = Databases(one.node)
            opening.start()
            await opening.settled(10)
            assert len(tries) == 2
            assert [incident["kind"] for incident in one.node.incidents.of("acme")] == ["database-away"]

    asyncio.run(story())


def test_a_late_database_is_logged_at_start_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From READY on until then the API answers 503 for it; the log says why, and when that is over."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            said, free = Said(), asyncio.Event()

            async def open_slowly() -> None:
                await free.wait()

            one.node.customers["acme"].open_database = open_slowly
            monkeypatch.setattr(one.node, "log", said)
            opening = Databases(one.node)
            opening.start()
            await opening.settled(0.01)
            assert said.events == [("database.late", "acme")]
            free.set()
            await one.until(lambda: len(said.events) == 2)
            assert said.events == [("database.late", "acme"), ("database.back", "acme")]

    asyncio.run(story())
