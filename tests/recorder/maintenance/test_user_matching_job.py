"""The daemon tells who took part in calls, whatever was there first, and is in nobody's way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from recorder.directory.matching_lock import matching
from recorder.maintenance.user_matching_job import UserMatchingJob
from recorder.session.index_row import forms_of
from storage.calls.call_document import wrapped
from storage.calls.call_row import CallRow, CallState
from storage.customer.customers import Customer
from storage.database.database import DatabaseAway
from storage.database.schema import calls
from storage.directory.matcher import UserMatcher
from storage.directory.user import Person
from tests.recorder.job_parts import Parts

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIRA = Person("Mira", "Okafor", "mira", "mira@x.example", numbers=("+4930123456",))
LOST = calls.update().values(direction=None, source=None, matched=True)  # as an earlier version leaves a row


@pytest.fixture
async def job(node: Parts) -> UserMatchingJob:
    node.tasks.start(node.indexer.run(), "indexer")
    return UserMatchingJob(node.customers, node.tasks, node.log)


async def rest() -> None:
    """Go on at once."""


async def directions(acme: Customer) -> list[int | None]:
    async with acme.database.reading() as connection:
        return list(await connection.scalars(sa.select(calls.c.direction)))


async def imported(acme: Customer, *people: Person) -> str:
    plan = await acme.users.plan(people, "csv", whole=True)
    await acme.users.carry_out(plan)
    await acme.users.completed(plan)
    return (await acme.users.listed(1))[0][0].id


async def indexed(node: Parts, number: int) -> str:
    """Have a call written by the indexer."""
    id, acme = f"{number:08d}-2222-4333-8444-555555555555", node.customers["acme"]
    party: Any = {"name": None, "number": "+4930123456", "uri": "sip:+4930123456@pbx.example", "also": []}
    row = CallRow(
        id, acme.keys.allocate(20_513), CallState.COMPLETE, NOON, NOON, 10, 0, details=wrapped({"parties": [party]})
    )
    written = asyncio.Event()
    node.indexer.put(acme, row, forms_of({"parties": [party]}, "DE"), written.set)
    await node.indexer.drain(30)
    await written.wait()
    return id


async def user_of(acme: Customer, id: str) -> object:
    row = await acme.calls.get(id)
    assert row is not None
    return row.details["parties"][0].get("user_id")


async def test_missing_columns_are_filled_as_soon_as_possible(
    node: Parts, acme: Customer, job: UserMatchingJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    await indexed(node, 1)
    async with acme.database.writing() as connection:
        await connection.execute(LOST)

    async def away(*_: object) -> int:
        raise DatabaseAway("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr("recorder.maintenance.user_matching_job.filter_columns.fill", away)
        assert not await job.turn(acme, rest)
    assert await acme.user_matcher.at_rest()  # and yet it goes on
    assert await directions(acme) == [None]
    assert await job.turn(acme, rest)
    assert await directions(acme) == [0]


async def test_earlier_calls_are_matched_and_new_ones_at_once(
    node: Parts, acme: Customer, job: UserMatchingJob
) -> None:
    early = await indexed(node, 1)
    assert await user_of(acme, early) is None
    mira = await imported(acme, MIRA)
    assert await job.turn(acme, rest)
    assert await user_of(acme, early) == mira
    assert await user_of(acme, await indexed(node, 2)) == mira
    assert await job.turn(acme, rest)  # nothing is left to do


async def test_a_call_indexed_after_a_foreign_sync_is_matched(
    node: Parts, acme: Customer, job: UserMatchingJob
) -> None:
    await job.turn(acme, rest)
    mira = await imported(acme, MIRA)
    there = UserMatcher(acme.database, acme.keys, acme.calls, acme.users, acme.rules, "DE")
    await there.load()
    await there.settle()
    call = await indexed(node, 1)
    assert await job.turn(acme, rest)
    assert await user_of(acme, call) == mira


async def test_a_change_of_another_process_is_noticed(acme: Customer, job: UserMatchingJob) -> None:
    await imported(acme, MIRA)
    assert await job.turn(acme, rest)
    await imported(acme, replace(MIRA, account_name="other", email="other@x.example"))
    with matching(acme) as ours:  # as a command does
        assert ours and await job.turn(acme, rest)
        assert await acme.user_matcher.outstanding()
    assert await job.turn(acme, rest) and not await acme.user_matcher.outstanding()


@pytest.mark.parametrize("problem", [DatabaseAway("the database is away"), LookupError()])
async def test_failed_matching_is_tried_again(
    acme: Customer, job: UserMatchingJob, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    async def away() -> int:
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(acme.users, "count", away)
        assert not await job.turn(acme, rest)
    assert not acme.user_matcher.ready
    assert await job.turn(acme, rest) and acme.user_matcher.ready


async def test_it_goes_on_by_itself(
    node: Parts, acme: Customer, job: UserMatchingJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.maintenance.user_matching_job.LOOK_SECONDS", 0.01)
    await job.run()
    mira, call = await imported(acme, MIRA), await indexed(node, 1)

    async def matched() -> bool:
        return await user_of(acme, call) == mira

    await node.until(matched)
