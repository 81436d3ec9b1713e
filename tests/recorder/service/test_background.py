"""Databases, API and jobs are opened behind the recording, and what fails there is tried again."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from recorder.access.api_server import AdminApiServer
from recorder.calls.admission import Admission
from recorder.calls.leaf_prefetch import LeafPrefetch
from recorder.calls.status import System
from recorder.service import background
from recorder.service.background import BackgroundServices
from storage.customer.customers import Customer
from storage.customer.settings import CustomerSettings
from storage.customer.wiring import Components, assemble
from tests.in_process.recorder_node import Stage, stage


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


def made(one: Stage) -> BackgroundServices:
    return BackgroundServices(one.node, one.live, one.executor, one.repairs, System(one.node, one.live))


def test_who_asks_before_it_is_open_waits_for_the_answer(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one, listening() as door:
            api, opened = made(one), asyncio.Event()
            early = asyncio.create_task(asked(door))
            await asyncio.sleep(0.1)
            assert not early.done()
            api.open(door, opened.set)
            assert (await early).startswith(b"HTTP/1.1 200")
            await opened.wait()
            assert {"indexer", "mending", "retention", "exports"} <= set(one.node.tasks.names())
            await api.close()

    asyncio.run(story())


def test_calls_are_taken_before_the_index_is_loaded(tmp_path: Path) -> None:
    """Whoever asked for it in the loop would hold up every call for as long as its code takes."""
    asked: list[str] = []

    def assembled(settings: CustomerSettings, *more: Any) -> Components:
        asked.append(settings.name)
        return assemble(settings, *more)

    async def story() -> None:
        async with stage(tmp_path) as one, listening() as door:
            for task in asyncio.all_tasks():
                if task.get_name() in ("indexer", "mending"):
                    task.cancel()
            whole = one.node.customers["acme"]
            lean = Customer(whole.settings, whole.keys, whole.place, assembled)
            one.node.customers._customers["acme"] = lean  # type: ignore[attr-defined]  # as a start of the daemon has it
            await whole.close()
            chores = (
                LeafPrefetch(one.node.customers, one.node.tasks, one.node.now).tend,
                System(one.node, one.live).sample,
                one.node.incidents.save,
            )
            ended = one.invite("c1")
            Admission(one.node, one.live, one.executor.checkpoint, chores).beat()
            one.bye("c1")
            await one.until(lambda: not len(one.live))
            lost = one.invite("c2")
            one.executor.finishing.abandon(lost)
            assert one.node.indexer.pending("acme", ended.id) and len(one.repairs) == 1
            assert asked == []
            api, opened = made(one), asyncio.Event()
            api.open(door, opened.set)
            await opened.wait()
            await one.node.indexer.drain(30)
            await one.until(lambda: not len(one.repairs))
            assert [await lean.calls.get(each.id) is not None for each in (ended, lost)] == [True, True]
            assert asked == ["acme"]
            await api.close()

    asyncio.run(story())


def test_an_api_that_fails_to_start_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "AGAIN_SECONDS", 0.01)
    tries: list[int] = []
    start = AdminApiServer.start

    async def fails(self: AdminApiServer, door: socket.socket) -> None:
        tries.append(1)
        if len(tries) < 4:
            raise MemoryError
        await start(self, door)

    monkeypatch.setattr(AdminApiServer, "start", fails)

    async def story() -> None:
        async with stage(tmp_path) as one, listening() as door:
            told: list[str] = []
            monkeypatch.setattr(type(one.node.log), "fault", lambda _, event, problem, **facts: told.append(event))
            api, opened = made(one), asyncio.Event()
            api.open(door, opened.set)
            assert (await asked(door)).startswith(b"HTTP/1.1 200")
            assert told == ["api.failed"]
            assert len(tries) == 4
            await api.close()

    asyncio.run(story())


def test_due_calls_are_erased_while_the_api_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(self: AdminApiServer, door: socket.socket) -> None:
        raise MemoryError

    monkeypatch.setattr(AdminApiServer, "start", fails)

    async def story() -> None:
        async with stage(tmp_path) as one, listening() as door:
            api = made(one)
            api.open(door, lambda: pytest.fail("it never was"))
            await one.until(lambda: "retention" in one.node.tasks.names(), 10)
            await api.close()

    asyncio.run(story())


def test_a_stop_waits_for_no_more_code_than_is_being_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    begun, free = threading.Event(), threading.Event()

    def slow(module: str) -> None:
        loaded.append(module)
        begun.set()
        free.wait(30)

    monkeypatch.setattr(background, "import_module", slow)

    async def story() -> None:
        async with stage(tmp_path) as one, listening() as door:
            api = made(one)
            api.open(door, lambda: pytest.fail("it never was"))
            await one.until(begun.is_set)
            await api.close()
            free.set()

    asyncio.run(story())  # it ends no sooner than its threads
    assert len(loaded) == 1


def test_a_stop_does_not_wait_until_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: AdminApiServer, door: socket.socket) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AdminApiServer, "start", never)

    async def story() -> None:
        async with stage(tmp_path) as one, listening() as door:
            api = made(one)
            api.open(door, lambda: pytest.fail("it never was"))
            await one.until(lambda: "mending" in one.node.tasks.names())
            await api.close()
            await one.until(lambda: "office" not in one.node.tasks.names())

    asyncio.run(story())
