"""Databases are opened behind the service; a customer that cannot be opened is recorded, and delays no other."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from recorder.calls import databases
from recorder.calls.databases import Databases
from storage.customer.customers import KEYS
from storage.customer.wiring import Components, assemble
from storage.database.database import DatabaseAway
from storage.errors import OtherNode
from tests.in_process.recorder_node import CONFIG, Stage
from tests.recorder.calls.client import hang_up
from tests.recorder.service.background_services import close_customer, serving


def opens_after(one: Stage, failures: int, problem: Exception | None = None) -> list[int]:
    """Let the database of acme be away so many times, or something else be wrong; gives the tries."""
    tries: list[int] = []

    async def open_database() -> None:
        tries.append(1)
        if len(tries) <= failures:
            raise problem or DatabaseAway("away")

    acme: Any = one.customers["acme"]
    acme.open_database = open_database
    return tries


@pytest.mark.parametrize(
    ("problem", "failures"),
    [(None, 3), (MemoryError(), 1), (RuntimeError("can't start new thread"), 1), (OSError(24, "descriptors"), 1)],
)
async def test_an_unavailable_database_is_reported_once(
    one: Stage, monkeypatch: pytest.MonkeyPatch, problem: Exception | None, failures: int
) -> None:
    """Calls are recorded already, and may have what opening it needs."""
    monkeypatch.setattr(databases, "AGAIN_SECONDS", 0.01)
    tries = opens_after(one, failures, problem)
    opening = Databases(one.node, one.customers, None, lambda _: None)
    opening.start()
    await opening.settled(0.0)
    await one.until(lambda: len(tries) == failures + 1)
    await opening.settled()
    told = [(incident["kind"], incident["count"]) for incident in one.node.incidents.of("acme")]
    assert told == [("database-away", 1)]


async def test_a_database_taken_by_another_node_opens_once_it_is_free(
    one: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AGAIN_SECONDS", "RENEW_SECONDS"):
        monkeypatch.setattr(databases, name, 0.01)
    taken, renewed = OtherNode("the database is served by node rec2", "stop it", "rec2"), list[bool]()

    async def renew_claim() -> None:
        renewed.append(True)
        if len(renewed) == 1:
            raise DatabaseAway("away")  # which is not the end of it
        if len(renewed) == 2:
            tries[:] = []
            raise taken

    tries = opens_after(one, 0)
    acme: Any = one.customers["acme"]
    acme.renew_claim = renew_claim
    opening = Databases(one.node, one.customers, None, lambda _: None)
    opening.start()
    await one.until(lambda: len(renewed) == 3)
    assert len(tries) == 1

    tries = opens_after(one, 3, taken)
    again = Databases(one.node, one.customers, None, lambda _: None)
    again.start()
    await one.until(lambda: len(tries) == 4)
    assert [(each["kind"], each["count"]) for each in one.node.incidents.of("acme")] == [("database-away", 1)]


async def get(api: socket.socket, path: str, token: str = "") -> tuple[int, dict[str, Any]]:
    """Ask; returns status and document."""
    host, port = api.getsockname()
    async with httpx2.AsyncClient(timeout=60) as client:
        answer = await client.get(f"http://{host}:{port}{path}", headers={"Authorization": f"Bearer {token or 'none'}"})
    return answer.status_code, answer.json()


async def closed(one: Stage) -> dict[str, str]:
    """Leave both customers as a start of the daemon has them; returns a token of each."""
    tokens: dict[str, str] = {}
    for name, whole in list(one.customers.items()):
        tokens[name] = whole.credentials.create("paula", ["admin"], datetime.now(UTC)).token
        await close_customer(one, name)
    return tokens


TWO = CONFIG + '[[customer]]\nname = "globex"\nsources = ["192.0.2.1"]\n'


@pytest.mark.parametrize("config", [pytest.param(TWO, id="two customers")])
async def test_the_others_are_served_and_it_recovers_by_itself(
    one: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "AGAIN_SECONDS", 0.02)
    ledger, told = tmp_path / "data" / KEYS / "acme.erasures", list[str]()
    monkeypatch.setattr(one.node.log, "fault", lambda event, problem, **facts: told.append(event))
    monkeypatch.setattr(one.node.log, "info", lambda event, **facts: told.append(event))
    tokens = await closed(one)
    ledger.rename(ledger.with_name("aside"))
    ledger.mkdir()  # as a restore with a wrong owner: it can be neither read nor written
    async with serving(one) as api:
        await one.until(lambda: one.customers["globex"].served)
        ended = one.invite("c1")
        await hang_up(one, "c1")
        assert (await get(api, "/api/v1/customers/globex/calls", tokens["globex"]))[0] == 200
        status, problem = await get(api, "/api/v1/customers/acme/calls", tokens["acme"])
        assert (status, problem["title"]) == (503, "Not possible now")
        assert (await get(api, "/api/v1/customers/acme/calls", "wrong"))[0] == 401
        assert await get(api, "/readyz") == (200, {"status": "ready", "customers_away": 1})
        ledger.rmdir()
        ledger.with_name("aside").rename(ledger)
        await one.until(lambda: one.customers["acme"].served)
        await one.indexer.drain(30)
        status, page = await get(api, "/api/v1/customers/acme/calls", tokens["acme"])
        assert (status, [call["id"] for call in page["items"]]) == (200, [ended.id])
        assert await get(api, "/readyz") == (200, {"status": "ready"})
    changes = [event for event in told if event.startswith(("customer.", "database."))]
    assert changes == ["customer.away", "customer.back"]
    assert [each["kind"] for each in one.node.incidents.of("acme")] == ["customer-away"]
    assert not one.faults, "no task of it ended meanwhile"


async def test_due_calls_are_erased_once_the_customer_is_open(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its jobs wait for it, and do not end."""
    monkeypatch.setattr(databases, "AGAIN_SECONDS", 0.02)
    away, asked = [True], asyncio.Event()

    def assembled(*given: Any) -> Components:
        if away:
            raise MemoryError
        return assemble(*given)

    async def work(_: object) -> bool:
        acme.erasures.wanted.clear()
        asked.set()
        return True

    acme = await close_customer(one, "acme", assembled)
    async with serving(one):
        assert not acme.whole
        away.clear()
        await one.until(lambda: acme.served)
        monkeypatch.setattr(acme.erasures, "work", work)
        acme.erasures.wanted.set()
        await asyncio.wait_for(asked.wait(), 30)
        assert {"retention", "exports", "correlation"} <= set(one.node.tasks.names())
        assert not one.faults
