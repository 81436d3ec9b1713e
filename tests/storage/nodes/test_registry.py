"""One node serves a database: its own next process at once, another one not before it has left or is long gone."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.calls.call_row import CallState
from storage.database.database import Database, DatabaseAway
from storage.database.database_clock import NOW
from storage.database.schema import nodes
from storage.errors import OtherNode
from storage.nodes import registry
from tests.in_process.storage_node import NOON, record
from tests.storage.nodes.machines import HOUR, Machine, first

pytestmark = pytest.mark.system


@pytest.fixture
def rec1(tmp_path: Path, postgresql: str, loop: asyncio.Runner) -> Machine:
    """The machine that serves the database, and is not running at the moment."""
    return loop.run(first(tmp_path, postgresql))


@pytest.fixture(autouse=True)
def _long_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server of the tests be one that has been there for hours."""
    monkeypatch.setattr(registry, "UP_SINCE", sa.literal(1, sa.BigInteger))


async def test_the_next_process_of_the_same_machine_goes_on_at_once(rec1: Machine) -> None:
    for number in (0, 0, 3):  # after a crash, an upgrade, and a change of the number
        async with replace(rec1, number=number).serving() as acme:
            await acme.renew_claim()


async def test_a_second_node_is_refused_and_the_first_is_named(rec1: Machine) -> None:
    rec2 = rec1.copy("rec2")
    for other in (rec2, replace(rec2, number=2), replace(rec2, place=replace(rec2.place, claims=False))):
        why = await other.refused()
        assert "node rec1, number 0" in str(why) and why.node == "rec1" and why.hint
    async with rec1.serving() as acme:
        await acme.renew_claim()
        assert await acme.calls.count() == 0


async def test_a_node_that_left_or_is_long_gone_is_replaced(rec1: Machine) -> None:
    rec2, rec3 = rec1.copy("rec2"), rec1.copy("rec3")
    async with rec1.serving() as acme:
        await acme.give_up_claim()
    async with rec2.serving():
        await rec1.age(HOUR)
        async with rec3.serving():
            assert (await rec1.refused()).node == "rec3"


async def test_a_database_that_was_away_waits_for_its_node(rec1: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another node that asks again and again is the first to notice that it is back."""
    rec2 = rec1.copy("rec2")
    await rec1.age(HOUR)
    monkeypatch.setattr(registry, "UP_SINCE", NOW)
    assert (await rec2.refused()).node == "rec1"
    async with rec1.serving() as acme:
        await acme.give_up_claim()
    async with rec2.serving():
        assert (await rec1.refused()).node == "rec2"


async def test_who_lost_the_database_stops_using_it_and_gets_it_back(rec1: Machine) -> None:
    rec2 = rec1.copy("rec2")
    async with rec1.serving() as acme:
        await rec1.age(HOUR)
        async with rec2.serving() as other:
            with pytest.raises(OtherNode):
                await acme.renew_claim()
            with pytest.raises(DatabaseAway):
                await acme.calls.count()
            with pytest.raises(OtherNode):
                await acme.open_database()
            await other.give_up_claim()
        await acme.open_database()
        assert await acme.calls.count() == 0


async def test_a_claim_lost_with_an_older_database_is_made_again(rec1: Machine) -> None:
    async with rec1.serving() as acme:
        async with acme.database.writing() as connection:
            await connection.execute(nodes.delete())
        await acme.renew_claim()
    assert (await rec1.copy("rec2").refused()).node == "rec1"


async def test_other_keys_are_refused_whoever_has_left(rec1: Machine, tmp_path: Path) -> None:
    """Their leaves would be given again, and nothing in the database could be opened."""
    async with rec1.serving() as acme:
        await acme.give_up_claim()
    other = Machine(tmp_path / "new", replace(rec1.place, data_dir=tmp_path / "new", instance="new"))
    why = await other.refused()
    assert "other keys" in str(why) and "rec1" in str(why)


async def test_a_schema_of_before_is_not_migrated_by_a_second_node(rec1: Machine) -> None:
    rec2 = rec1.copy("rec2")
    database = await Database.open(rec1.place.database, "acme", rec1.data, NOON)

    async def version(new: str | None = None) -> str:
        async with database.writing() as connection:
            if new:
                await connection.execute(sa.text("UPDATE alembic_version SET version_num = :new"), {"new": new})
            return str(await connection.scalar(sa.text("SELECT version_num FROM alembic_version")))

    before = await version()
    await version("0006")
    await rec2.refused()
    assert await version(before) == before
    await database.close()


async def test_calls_recorded_under_another_number_are_ones_own(rec1: Machine) -> None:
    async with rec1.serving() as acme:
        row = await record(acme, state=CallState.RECORDING)
    async with replace(rec1, number=4).serving() as acme:
        assert await acme.calls.unfinished() == ((row.id, row.leaf),)
        assert await acme.calls.elsewhere() == frozenset()
