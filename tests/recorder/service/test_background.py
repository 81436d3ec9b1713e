"""Databases, API and jobs are opened behind the recording, and what fails there is tried again."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from recorder.access.api_server import AdminApiServer
from recorder.calls.admission import Admission
from recorder.calls.leaf_prefetch import LeafPrefetch
from recorder.service import background
from storage.customer.settings import CustomerSettings
from storage.customer.wiring import Components, assemble
from tests.in_process.recorder_node import Stage, stage
from tests.recorder.service.background_services import close_customer, listening, made, serving


async def asked(listener: socket.socket) -> bytes:
    """Ask for the node's health; returns the first line of the answer."""
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        return await reader.readline()
    finally:
        writer.close()


async def test_who_asks_before_it_is_open_waits_for_the_answer(one: Stage) -> None:
    with listening() as listener:
        api, opened = made(one), asyncio.Event()
        early = asyncio.create_task(asked(listener))
        await asyncio.sleep(0.1)
        assert not early.done()
        api.open([listener], opened.set)
        assert (await early).startswith(b"HTTP/1.1 200")
        await opened.wait()
        assert {"indexer", "repairs", "retention", "exports"} <= set(one.node.tasks.names())
        await api.close()


async def test_calls_are_taken_before_the_index_is_loaded(one: Stage) -> None:
    """Whoever asked for it in the loop would hold up every call for as long as its code takes."""
    loaded: list[str] = []

    def assembled(settings: CustomerSettings, *more: Any) -> Components:
        loaded.append(settings.name)
        return assemble(settings, *more)

    acme = await close_customer(one, "acme", assembled)
    periodic = (
        LeafPrefetch(one.customers, one.node.tasks, one.node.now).fetch_due,
        one.system().sample,
        one.node.incidents.save,
    )
    ended = one.invite("c1")
    Admission(one.node, one.resources, one.live, None, periodic).run_checks()
    one.bye("c1")
    await one.until(lambda: not len(one.live))
    lost = one.invite("c2")
    one.executor.finishing.abandon(lost)
    assert one.indexer.pending("acme", ended.id) and len(one.repairs) == 1
    assert not acme.whole and loaded == []
    async with serving(one):
        await one.indexer.drain(30)
        await one.until(lambda: not len(one.repairs))
        assert [await acme.calls.get(each.id) is not None for each in (ended, lost)] == [True, True]
        assert loaded == ["acme"]


async def test_an_api_that_fails_to_start_is_reported_once(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run meanwhile."""
    tries, told = list[set[str]](), list[str]()
    start = AdminApiServer.start

    async def fails(self: AdminApiServer, listener: socket.socket) -> None:
        tries.append(set(one.node.tasks.names()))
        if len(tries) < 4 or "retention" not in tries[-1]:
            raise MemoryError
        await start(self, listener)

    monkeypatch.setattr(background, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(AdminApiServer, "start", fails)
    monkeypatch.setattr(one.node.log, "fault", lambda event, problem, **facts: told.append(event))
    async with serving(one) as listener:
        assert (await asked(listener)).startswith(b"HTTP/1.1 200")
        assert (told, len(tries) >= 4) == (["api.failed"], True)


async def test_a_stop_does_not_wait_until_it_is_open(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: AdminApiServer, listener: socket.socket) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AdminApiServer, "start", never)
    with listening() as listener:
        api = made(one)
        api.open([listener], lambda: pytest.fail("it never was"))
        await one.until(lambda: "repairs" in one.node.tasks.names())
        await api.close()
        await one.until(lambda: "background" not in one.node.tasks.names())


def test_a_stop_waits_for_no_more_code_than_is_being_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    begun, free = threading.Event(), threading.Event()

    def slow(module: str) -> None:
        loaded.append(module)
        begun.set()
        free.wait(30)

    async def story() -> None:
        async with stage(tmp_path) as one:
            with listening() as listener:
                api = made(one)
                api.open([listener], lambda: pytest.fail("it never was"))
                await one.until(begun.is_set)
                await api.close()
                free.set()

    monkeypatch.setattr(background, "import_module", slow)
    asyncio.run(story())  # it ends no sooner than its threads
    assert len(loaded) == 1
