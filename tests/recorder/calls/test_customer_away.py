"""A customer whose things cannot be put together is recorded all the same, waits alone, and is told of once."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recorder.calls import databases
from storage.customer.customers import CUSTOMERS, KEYS, Customer
from storage.customer.wiring import Components, assemble
from tests.in_process.recorder_node import CONFIG, Stage, stage
from tests.recorder.service.test_background import listening, made

TWO = CONFIG + '[[customer]]\nname = "globex"\nsources = ["192.0.2.1"]\n'


async def get(door: socket.socket, path: str, token: str = "") -> tuple[int, dict[str, Any]]:
    """Ask; returns status and document."""
    reader, writer = await asyncio.open_connection(*door.getsockname())
    said = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    writer.write(said.encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(body)


async def unopened(one: Stage) -> dict[str, str]:
    """Have both customers as a start of the daemon has them; returns a token of each."""
    for task in asyncio.all_tasks():
        if task.get_name() in ("indexer", "mending"):
            task.cancel()  # it starts its own
    tokens: dict[str, str] = {}
    for name, whole in list(one.node.customers.items()):
        tokens[name] = whole.credentials.create("paula", ["admin"], datetime.now(UTC)).token
        lean = Customer(whole.settings, whole.keys, whole.place, assemble)
        one.node.customers._customers[name] = lean  # type: ignore[attr-defined]  # a node knows them as a Mapping
        await whole.close()
    return tokens


def test_the_others_are_served_and_it_heals_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "AGAIN_SECONDS", 0.02)
    ledger = tmp_path / "data" / KEYS / "acme.erasures"

    async def story() -> None:
        async with stage(tmp_path, TWO) as one, listening() as door:
            told: list[str] = []
            monkeypatch.setattr(type(one.node.log), "fault", lambda _, event, problem, **facts: told.append(event))
            monkeypatch.setattr(type(one.node.log), "info", lambda _, event, **facts: told.append(event))
            tokens = await unopened(one)
            ledger.rename(ledger.with_name("aside"))
            ledger.mkdir()  # as a restore with a wrong owner: it can be neither read nor written
            desks, opened = made(one), asyncio.Event()
            desks.open(door, opened.set)
            await asyncio.wait_for(opened.wait(), 30)
            ended = one.invite("c1")
            one.bye("c1")
            await one.until(lambda: not len(one.live))
            assert (await get(door, "/api/v1/customers/globex/calls", tokens["globex"]))[0] == 200
            status, problem = await get(door, "/api/v1/customers/acme/calls", tokens["acme"])
            assert (status, problem["title"]) == (503, "Not possible now")
            assert (await get(door, "/api/v1/customers/acme/calls", "wrong"))[0] == 401
            assert await get(door, "/readyz") == (200, {"status": "ready", "customers_away": 1})
            ledger.rmdir()
            ledger.with_name("aside").rename(ledger)
            await one.until(lambda: one.node.customers["acme"].served)
            await one.node.indexer.drain(30)
            status, page = await get(door, "/api/v1/customers/acme/calls", tokens["acme"])
            assert (status, [call["id"] for call in page["items"]]) == (200, [ended.id])
            assert await get(door, "/readyz") == (200, {"status": "ready"})
            assert [event for event in told if event.startswith(("customer.", "database."))] == [
                "customer.away", "customer.back"
            ]  # fmt: skip
            assert [each["kind"] for each in one.node.incidents.of("acme")] == ["customer-away"]
            assert not one.faults, "no task of it ended meanwhile"
            await desks.close()

    asyncio.run(story())


def test_a_customer_folder_lost_later_locks_no_other_out(tmp_path: Path) -> None:
    """Every token is looked for with every customer."""
    folder = tmp_path / "data" / CUSTOMERS / "acme"

    async def story() -> None:
        async with stage(tmp_path, TWO) as one, listening() as door:
            tokens = await unopened(one)
            desks, opened = made(one), asyncio.Event()
            desks.open(door, opened.set)
            await asyncio.wait_for(opened.wait(), 30)
            folder.rename(folder.with_name("aside"))
            folder.symlink_to(folder.name)  # as a mount that is gone: nothing in it can even be looked at
            assert (await get(door, "/api/v1/customers/globex/calls", tokens["globex"]))[0] == 200
            assert (await get(door, "/api/v1/customers/acme/calls", tokens["acme"]))[0] == 401
            folder.unlink()
            folder.with_name("aside").rename(folder)
            assert (await get(door, "/api/v1/customers/acme/calls", tokens["acme"]))[0] == 200
            await desks.close()

    asyncio.run(story())


def test_due_calls_are_erased_once_the_customer_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its jobs wait for it, and do not end."""
    monkeypatch.setattr(databases, "AGAIN_SECONDS", 0.02)
    away = [True]

    def assembled(*given: Any) -> Components:
        if away:
            raise MemoryError
        return assemble(*given)

    async def story() -> None:
        async with stage(tmp_path) as one, listening() as door:
            await unopened(one)
            acme = one.node.customers["acme"]
            monkeypatch.setattr(acme, "_assemble", assembled)
            desks, opened = made(one), asyncio.Event()
            desks.open(door, opened.set)
            await asyncio.wait_for(opened.wait(), 30)
            assert not acme.whole
            away.clear()
            await one.until(lambda: acme.served)
            asked = asyncio.Event()

            async def work(_: object) -> bool:
                acme.erasures.wanted.clear()
                asked.set()
                return True

            monkeypatch.setattr(acme.erasures, "work", work)
            acme.erasures.wanted.set()
            await asyncio.wait_for(asked.wait(), 30)
            assert {"retention", "exports", "correlation"} <= set(one.node.tasks.names())
            assert not one.faults
            await desks.close()

    asyncio.run(story())
