"""Databases, API and jobs are opened behind the recording, and what fails there is tried again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from recorder import office
from recorder.office import Office
from recorder.surface import Surface
from recorder.system import System
from tests.recorder.stage import Stage, stage


@asynccontextmanager
async def listening() -> AsyncIterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        yield door


async def asked(door: socket.socket) -> bytes:
    """Ask for the node's health; returns the first line of the answer."""
    reader, writer = await asyncio.open_connection(*door.getsockname())
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        return await reader.readline()
    finally:
        writer.close()


def made(one: Stage) -> Office:
    return Office(one.node, one.live, one.runner, one.mending, System(one.node, one.live))


def test_who_asks_before_it_is_open_waits_for_the_answer(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one, listening() as door:
            desks, opened = made(one), asyncio.Event()
            early = asyncio.create_task(asked(door))
            await asyncio.sleep(0.1)
            assert not early.done()
            desks.open(door, opened.set)
            assert (await early).startswith(b"HTTP/1.1 200")
            await opened.wait()
            assert {"indexer", "mending", "retention", "exports"} <= set(one.node.tasks.names())
            await desks.close()

    asyncio.run(story())


def test_what_fails_is_told_once_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "AGAIN_SECONDS", 0.01)
    tries: list[int] = []
    start = Surface.start

    async def fails(self: Surface, door: socket.socket) -> None:
        tries.append(1)
        if len(tries) < 4:
            raise MemoryError
        await start(self, door)

    monkeypatch.setattr(Surface, "start", fails)

    async def story() -> None:
        async with stage(tmp_path) as one, listening() as door:
            told: list[str] = []
            monkeypatch.setattr(type(one.node.log), "fault", lambda _, event, problem, **facts: told.append(event))
            desks, opened = made(one), asyncio.Event()
            desks.open(door, opened.set)
            assert (await asked(door)).startswith(b"HTTP/1.1 200")
            assert told == ["api.failed"]
            assert len(tries) == 4
            await desks.close()

    asyncio.run(story())


def test_a_stop_does_not_wait_until_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Surface, door: socket.socket) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Surface, "start", never)

    async def story() -> None:
        async with stage(tmp_path) as one, listening() as door:
            desks = made(one)
            desks.open(door, lambda: pytest.fail("it never was"))
            await one.until(lambda: "mending" in one.node.tasks.names())
            await desks.close()
            await one.until(lambda: "office" not in one.node.tasks.names())

    asyncio.run(story())
