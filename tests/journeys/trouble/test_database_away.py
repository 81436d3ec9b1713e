"""A database that is away, at the start or later, loses no recording, and the index catches up with each once."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from recorder.simulate.plan import Plan
from tests.daemon.api import Api, running, until
from tests.daemon.coded_calls import place
from tests.daemon.pgbouncer import pgbouncer
from tests.daemon.postgresql import cluster

SHORT, LONG = 2, 18


def placed(it: Api) -> None:
    """Place a short call."""
    assert [call.well for call in place([Plan(to=it.one.uri(), seconds=SHORT)])] == [True]


def states(it: Api) -> list[str]:
    return sorted(call["state"] for call in it.calls())


@pytest.mark.parametrize("between", [False, True], ids=["directly", "behind PgBouncer"])
def test_a_database_that_is_away_at_the_start_and_later(tmp_path: Path, between: bool) -> None:
    with ExitStack() as stack:
        postgresql = stack.enter_context(cluster())
        reached = stack.enter_context(pgbouncer(postgresql)) if between else postgresql
        it = stack.enter_context(running(tmp_path, start=False))
        one = it.one
        one.config.write_text(one.config.read_text() + f'[storage]\ndatabase = "{reached.url}"\n')
        one.start()
        answer = it.get("/calls")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert it.health("/readyz") == it.health("/healthz") == 200
        placed(it)

        def story() -> None:
            until(lambda: it.figure("recorder_calls_active") == 1)
            postgresql.start()
            until(lambda: states(it) == ["complete", "recording"])
            one.until("database.back")  # which is logged behind the opening
            assert one.events().count("database.back") == 1
            postgresql.stop()

        async def meanwhile() -> None:
            await asyncio.to_thread(story)

        assert place([Plan(to=one.uri(), seconds=LONG)], meanwhile)[0].well
        placed(it)
        assert it.get("/calls").status_code == 503
        postgresql.start()
        until(lambda: states(it) == ["complete"] * 3)
        found = it.calls()
        assert len({call["id"] for call in found}) == len({call["session_id"] for call in found}) == 3
        for call in found:
            assert [stream["lost"] for stream in call["streams"]] == [0, 0]
            assert min(stream["packets"] for stream in call["streams"]) >= 50 * SHORT * 0.8
        until(lambda: postgresql.ask("recorder_acme", "select count(*) from calls") == "3")
        assert one.stop() == 0
        assert one.run("verify").returncode == 0
