"""The daemon lets users go whom nobody needs, once, and says so without naming them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.calls.context import Node
from recorder.maintenance.purge_job import PurgeJob
from recorder.persist.indexer import NO_THREAD
from storage.database.database import DatabaseAway
from storage.directory.user import Person
from tests.in_process.recorder_node import stage

MIRA = Person("Mira", account_name="mira", numbers=("+4930123456",))


def _job(node: Node) -> PurgeJob:
    return PurgeJob(node.customers, node.tasks, node.log, node.indexer)


def test_a_former_user_is_deleted_after_all_calls_are_matched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.maintenance.purge_job.REST_SECONDS", 0)

    async def story() -> None:
        async with stage(tmp_path) as one:
            acme, job = one.node.customers["acme"], _job(one.node)
            for people in ([MIRA], []):
                await acme.users.carry_out(await acme.users.plan(people, "csv", whole=True))
            (user,), _ = await acme.users.listed(9)
            assert await job.turn(acme) == 0  # not known yet whether a recording refers to her
            await acme.correlation.load()
            await acme.correlation.settle()

            for problem in (DatabaseAway("the database is away"), RuntimeError(NO_THREAD)):

                async def away(*_: object, problem: Exception = problem) -> None:
                    raise problem

                with monkeypatch.context() as patch:
                    patch.setattr(acme.users, "listed", away)
                    assert await job.turn(acme) == 0

            async def not_yet(customer: str, seconds: float) -> bool:
                return False  # a call that runs is not in the index, and may be hers

            with monkeypatch.context() as patch:
                patch.setattr(one.node.indexer, "hurry_all", not_yet)
                assert await job.turn(acme) == 0
            assert await job.turn(acme) == 1
            (act,) = acme.audit.read(limit=1).items
            assert (act["action"], act["object"], act["actor"]) == ("user.delete", user.id, "recorder")
            await acme.correlation.settle()
            assert await job.turn(acme) == 0

    asyncio.run(story())


def test_only_where_the_customer_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.maintenance.purge_job.LOOK_SECONDS", 0.01)

    async def story() -> None:
        async with stage(tmp_path) as one:
            acme, job = one.node.customers["acme"], _job(one.node)
            for people in ([MIRA], []):
                await acme.users.carry_out(await acme.users.plan(people, "csv", whole=True))
            await acme.correlation.load()
            await acme.correlation.settle()
            await job.run()
            assert "purge" not in one.node.tasks.names()
            acme.settings = replace(acme.settings, purge_users=True)
            await job.run()
            async with asyncio.timeout(20):
                while await acme.users.count():
                    await asyncio.sleep(0.01)

    asyncio.run(story())
