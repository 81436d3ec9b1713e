"""The daemon tells who took part in calls, whatever was there first, and is in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from recorder.directory.correlation_lock import matching
from recorder.maintenance.correlation_job import CorrelationJob
from recorder.session.index_row import forms_of
from storage.calls.call_row import CallRow, CallState
from storage.customer.customers import Customer
from storage.database.database import DatabaseAway
from storage.database.schema import calls
from storage.directory.matcher import Correlation
from storage.directory.user import Person
from tests.in_process.recorder_node import Stage, stage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIRA = Person("Mira", "Okafor", "mira", "mira@x.example", numbers=("+4930123456",))

Tell = Callable[[Stage, Customer, CorrelationJob], Awaitable[None]]


def story(folder: Path, tell: Tell) -> None:
    async def run() -> None:
        async with stage(folder) as one:
            await tell(
                one, one.node.customers["acme"], CorrelationJob(one.node.customers, one.node.tasks, one.node.log)
            )

    asyncio.run(run())


def test_columns_of_an_earlier_version_are_filled(tmp_path: Path) -> None:
    async def tell(one: Stage, acme: Customer, job: CorrelationJob) -> None:
        await indexed(one, acme, 1)
        told = sa.select(calls.c.direction)
        async with acme.database.writing() as connection:
            await connection.execute(calls.update().values(direction=None, source=None))
        assert await job.turn(acme, rest)
        async with acme.database.reading() as connection:
            assert list(await connection.scalars(told)) == [0]

    story(tmp_path, tell)


def test_a_customer_with_nothing_to_match_costs_one_query(tmp_path: Path) -> None:
    async def tell(one: Stage, acme: Customer, job: CorrelationJob) -> None:
        await imported(acme, MIRA)
        await indexed(one, acme, 1)
        assert await job.turn(acme, rest)
        asked: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
            asked.append(statement)

        sa.event.listen(acme.database._engine.sync_engine, "before_cursor_execute", note)
        assert await job.turn(acme, rest)
        assert [each.partition(" ")[0] for each in asked] == ["SELECT"]

    story(tmp_path, tell)


async def rest() -> None:
    """Go on at once."""


def test_columns_that_could_not_be_filled_are_filled_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(one: Stage, acme: Customer, job: CorrelationJob) -> None:
        await indexed(one, acme, 1)
        async with acme.database.writing() as connection:
            await connection.execute(calls.update().values(direction=None, source=None, matched=True))

        async def away(*_: object) -> int:
            raise DatabaseAway("the database is away")

        with monkeypatch.context() as patch:
            patch.setattr("recorder.maintenance.correlation_job.filter_columns.fill", away)
            assert not await job.turn(acme, rest)
        assert await acme.correlation.at_rest()  # and yet it goes on
        assert await job.turn(acme, rest)
        async with acme.database.reading() as connection:
            assert list(await connection.scalars(sa.select(calls.c.direction))) == [0]

    story(tmp_path, tell)


async def imported(acme: Customer, *people: Person) -> str:
    plan = await acme.users.plan(people, "csv", whole=True)
    await acme.users.carry_out(plan)
    await acme.users.completed(plan)
    return (await acme.users.listed(1))[0][0].id


async def indexed(one: Stage, acme: Customer, number: int) -> dict[str, Any]:
    """Have a call written by the indexer."""
    id = f"{number:08d}-2222-4333-8444-555555555555"
    party = {"name": None, "number": "+4930123456", "uri": "sip:+4930123456@pbx.example", "also": []}
    leaf = acme.keys.allocate(20_513)
    row = CallRow(id, leaf, CallState.COMPLETE, NOON, NOON, 10, 0, details={"parties": [party]})
    written = asyncio.Event()
    one.node.indexer.put(acme, row, forms_of({"parties": [party]}, "DE"), written.set)
    await one.node.indexer.drain(30)
    await written.wait()
    return await party_of(acme, id)


async def party_of(acme: Customer, id: str) -> dict[str, Any]:
    row = await acme.calls.get(id)
    assert row is not None
    party: dict[str, Any] = row.details["parties"][0]
    return party


def test_calls_of_before_are_looked_at_and_new_ones_at_once(tmp_path: Path) -> None:
    async def tell(one: Stage, acme: Customer, job: CorrelationJob) -> None:
        early = await indexed(one, acme, 1)
        assert "user_id" not in early
        mira = await imported(acme, MIRA)
        assert await job.turn(acme, rest)
        assert (await party_of(acme, "00000001-2222-4333-8444-555555555555"))["user_id"] == mira
        assert (await indexed(one, acme, 2))["user_id"] == mira

    story(tmp_path, tell)


def test_a_call_indexed_after_a_foreign_sync_is_matched(tmp_path: Path) -> None:
    async def tell(one: Stage, acme: Customer, job: CorrelationJob) -> None:
        await job.turn(acme, rest)
        mira = await imported(acme, MIRA)
        there = Correlation(acme.database, acme.keys, acme.calls, acme.users, acme.rules, "DE")
        await there.load()
        await there.settle()
        await indexed(one, acme, 1)
        assert await job.turn(acme, rest)
        assert (await party_of(acme, "00000001-2222-4333-8444-555555555555"))["user_id"] == mira

    story(tmp_path, tell)


def test_a_change_of_another_process_is_noticed(tmp_path: Path) -> None:
    async def tell(one: Stage, acme: Customer, job: CorrelationJob) -> None:
        await imported(acme, MIRA)
        assert await job.turn(acme, rest)
        await imported(acme, replace(MIRA, account_name="other", email="other@x.example"))
        with matching(acme) as ours:  # as a command does
            assert ours and await job.turn(acme, rest)
            assert await acme.correlation.outstanding()
        assert await job.turn(acme, rest) and not await acme.correlation.outstanding()

    story(tmp_path, tell)


@pytest.mark.parametrize("problem", [DatabaseAway("the database is away"), LookupError()])
def test_failed_matching_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    async def tell(one: Stage, acme: Customer, job: CorrelationJob) -> None:
        async def away() -> int:
            raise problem

        with monkeypatch.context() as patch:
            patch.setattr(acme.users, "count", away)
            assert not await job.turn(acme, rest)
        assert not acme.correlation.ready
        assert await job.turn(acme, rest) and acme.correlation.ready

    story(tmp_path, tell)


def test_it_goes_on_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.maintenance.correlation_job.LOOK_SECONDS", 0.01)

    async def tell(one: Stage, acme: Customer, job: CorrelationJob) -> None:
        await job.run()
        mira = await imported(acme, MIRA)
        await indexed(one, acme, 1)
        async with asyncio.timeout(20):
            while (await party_of(acme, "00000001-2222-4333-8444-555555555555")).get("user_id") != mira:
                await asyncio.sleep(0.01)

    story(tmp_path, tell)
