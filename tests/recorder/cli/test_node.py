"""The commands for several nodes, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from recorder.config.loader import load
from recorder.diagnosis.node_checks import nodes
from storage.nodes import membership
from tests.daemon.postgresql import cluster
from tests.in_process.command_line import Answer, Place, Printed
from tests.in_process.storage_node import emptied
from tests.storage.nodes.machines import Machine, first

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with cluster() as server:
        server.start()
        yield server.url


@pytest.fixture
def rec1(place: Place, tmp_path: Path, postgresql: str) -> Machine:
    """The first of several nodes, which is not running; the commands have its configuration."""
    (place.folder / "id").write_text("key")
    store = 'media = "s3"\nendpoint = "http://127.0.0.1:1"\nbucket = "parts"\n'
    store += f'access_key = "file:{place.folder}/id"\nsecret_key = "file:{place.folder}/id"\n'
    place.configure(more=f'[storage]\ndatabase = "{postgresql}"\n{store}')
    text = place.config.read_text()
    place.config.write_text(text.replace("[node]\n", "[node]\nnumber = 1\n", 1))
    return asyncio.run(first(tmp_path / "nodes", postgresql, number=1))


def change(machine: Machine, work: Callable[[AsyncConnection], Awaitable[object]]) -> None:
    asyncio.run(machine.work(work))


def test_list_shows_every_node_and_drain_changes_one(
    rec1: Machine, place: Place, answer: Answer, printed: Printed
) -> None:
    change(rec1, lambda connection: membership.admit(connection, "rec2", 2))

    async def start() -> None:
        async with rec1.serving():
            pass

    asyncio.run(start())
    one, two = answer("node", "list")["items"]
    assert set(one) == {"customer", "name", "number", "state", "lease_until", "cuts", "fingerprint"}
    assert (one["name"], one["number"], one["state"], len(one["fingerprint"])) == ("rec1", 1, "active", 32)
    assert one["lease_until"].endswith("Z")
    assert (two["name"], two["state"], two["lease_until"], two["fingerprint"]) == ("rec2", "pending", None, None)

    assert [each.state.value for each in nodes(load(place.config))] == ["ok"]
    (drained,) = answer("node", "drain", "rec1")["items"]
    assert drained["state"] == "draining"
    assert "no new calls within 10 s" in printed("node", "drain", "rec1")[0]
    assert [item["state"] for item in answer("node", "list", "--customer", "acme")["items"]] == ["draining", "pending"]
    (check,) = nodes(load(place.config))
    assert check.state == "warn" and "recorder node drain rec1 --undo" in check.remedy
    assert "takes calls again" in printed("node", "drain", "rec1", "--undo")[0]
    out, _ = printed("node", "list")
    assert [line.split()[2:4] for line in out.splitlines()[1:]] == [["rec1", "active"], ["rec2", "pending"]]

    assert "no node rec9" in printed("node", "drain", "rec9", status=2)[1]
    assert "rec2 is pending" in printed("node", "drain", "rec2", status=2)[1]
    assert "no customer" in printed("node", "list", "--customer", "nobody", status=2)[1]


def test_the_doctor_names_who_is_away_and_who_does_not_belong(rec1: Machine, place: Place) -> None:
    async def left() -> None:
        async with rec1.serving() as acme:
            await acme.registry.give_up()

    asyncio.run(left())
    settings = load(place.config)
    (mine,) = nodes(settings)
    assert mine.state == "fail" and "away" in mine.detail
    other = replace(settings, node=replace(settings.node, name="rec2", number=2))
    mine, theirs = nodes(other)
    assert (mine.state, mine.remedy) == ("fail", "recorder node admit rec2")
    assert (theirs.name, theirs.state) == ("node.acme.1", "warn") and "retire rec1" in theirs.remedy


def test_with_a_file_there_is_one_node(place: Place, answer: Answer, printed: Printed) -> None:
    assert answer("node", "list") == {"items": []}
    assert "is the only node" in printed("node", "drain", "rec1", status=2)[1]


def test_a_database_that_nobody_has_used_has_no_nodes(
    place: Place, tmp_path: Path, postgresql: str, answer: Answer
) -> None:
    place.configure(more=f'[storage]\ndatabase = "{postgresql}"\n')
    asyncio.run(_dropped(postgresql, tmp_path))
    assert answer("node", "list") == {"items": []}


async def _dropped(url: str, folder: Path) -> None:
    database = await emptied(url, "acme", folder)
    await database.close()
