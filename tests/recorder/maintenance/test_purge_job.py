"""The daemon deletes former users that no recording refers to, and logs it without naming them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from recorder.maintenance.purge_job import PurgeJob
from recorder.persist.indexer import NO_THREAD
from storage.customer.customers import Customer
from storage.database.database import DatabaseAway
from storage.directory.user import Person
from tests.recorder.job_parts import Parts

pytestmark = pytest.mark.anyio
MIRA = Person("Mira", account_name="mira", numbers=("+4930123456",))


def fails(problem: Exception) -> Callable[..., Any]:
    async def failing(*_: object) -> None:
        raise problem

    return failing


async def test_a_former_user_is_deleted_after_all_calls_are_matched(
    node: Parts, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.maintenance.purge_job.REST_SECONDS", 0)
    monkeypatch.setattr("recorder.maintenance.purge_job.LOOK_SECONDS", 0.01)
    job = PurgeJob(node.customers, node.tasks, node.log, node.indexer)
    for people in ([MIRA], []):
        await acme.users.carry_out(await acme.users.plan(people, "csv", whole=True))
    (user,), _ = await acme.users.listed(9)
    assert await job.turn(acme) == 0  # not known yet whether a recording refers to her
    await acme.user_matcher.load()
    await acme.user_matcher.settle()

    async def not_yet(customer: str, seconds: float) -> bool:
        return False  # a call that runs is not in the index, and may be hers

    for owner, name, hinders in (
        (acme.users, "listed", fails(DatabaseAway("the database is away"))),
        (acme.users, "listed", fails(RuntimeError(NO_THREAD))),
        (node.indexer, "hurry_all", not_yet),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, hinders)
            assert await job.turn(acme) == 0

    await job.run()
    assert "purge" not in node.tasks.names(), "the customer does not want it"
    acme.settings = replace(acme.settings, purge_users=True)
    await job.run()

    async def gone() -> bool:
        return await acme.users.count() == 0

    await node.until(gone)
    (act,) = acme.audit.read(limit=1).items
    assert (act["action"], act["object"], act["actor"]) == ("user.delete", user.id, "recorder")
    await acme.user_matcher.settle()
    assert await job.turn(acme) == 0
