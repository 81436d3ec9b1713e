"""A standby that lacks the last commits becomes the primary under calls: nothing that was promised is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from recorder.simulate.plan import Plan
from tests.daemon.api import WAIVER, Api, running, until
from tests.daemon.coded_calls import nothing_missing, place, record
from tests.daemon.nodes import indexed, nodes
from tests.daemon.object_stores import object_store
from tests.daemon.pgbouncer import pgbouncer
from tests.daemon.postgresql import Cluster, cluster

LONG = 14
SWEEP = 40
"""Seconds between two sweeps: the first comes at the start, the second after the fail-over."""


@contextmanager
def pair(stack: ExitStack, between: bool) -> Iterator[tuple[Cluster, Cluster, str, Callable[[], None]]]:
    """Have a primary with its standby, the address for a recorder, and what leads that to the standby."""
    primary = stack.enter_context(cluster())
    primary.start()
    standby = stack.enter_context(cluster(primary=primary))
    standby.start()
    if between:
        bouncer = stack.enter_context(pgbouncer(primary))
        yield primary, standby, bouncer.url, lambda: bouncer.switch(standby)
    else:
        hosts = f"host={primary.place}:5432&host={standby.place}:5432&target_session_attrs=read-write"
        yield primary, standby, f"postgresql+asyncpg://rec@/recorder_{{customer}}?{hosts}", lambda: None


def reloaded(api: Api) -> None:
    """Do what `systemctl reload recorder` does, as docs/postgresql.md says: stop it and start it, and end no call."""
    assert api.one.stop() == 0
    api.one.start()


BEHIND = pytest.param(True, id="behind PgBouncer", marks=pytest.mark.torture)


@pytest.mark.parametrize("between", [pytest.param(False, id="two hosts"), BEHIND])
def test_commits_that_a_fail_over_lost_are_made_again(tmp_path: Path, between: bool) -> None:
    with ExitStack() as stack:
        primary, standby, url, switch = stack.enter_context(pair(stack, between))
        api = stack.enter_context(running(tmp_path / "one", start=False, kept=True))
        api.one.replace("[keys]", f'[storage]\ndatabase = "{url}"\n[keys]')
        api.one.start()
        api.ask("PUT", "/waiver", json=WAIVER)
        held, erased = (call["id"] for call in record(api, 2))
        standby.caught_up()
        standby.detach()

        (after,) = (call["id"] for call in record(api))
        assert api.ask("PUT", f"/calls/{held}/hold", "privacy", json={"reason": "court"}).status_code == 200
        done = api.erase(calls=[erased])
        assert standby.ask("recorder_acme", "select count(*) from calls") == "2"

        def story() -> None:
            until(lambda: api.figure("recorder_calls_active") == 2)
            primary.stop()
            standby.promote()
            switch()
            reloaded(api)

        async def meanwhile() -> None:
            await asyncio.to_thread(story)

        live = place([Plan(to=api.one.uri(), calls=2, seconds=LONG)], meanwhile)
        nothing_missing(api, live)
        until(lambda: {held, after} <= {call["id"] for call in api.calls()})
        assert len(api.calls()) == 4 and api.gone(erased)
        assert api.get(f"/calls/{held}").json()["hold"] is True
        assert api.sound(after)
        assert api.get(f"/erasures/{done['id']}", "privacy").json() == done, "with the receipt that was handed out"
        assert api.one.stop() == 0
        assert api.one.run("verify").returncode == 0
        assert json.loads(api.one.run("audit", "verify", "--json").stdout)["ok"]


@pytest.mark.torture
@pytest.mark.timeout(400)
@pytest.mark.parametrize("count", [1, 2])
def test_a_hold_that_a_fail_over_lost_stops_the_next_sweep(tmp_path: Path, count: int) -> None:
    """Of two nodes, the one that knows of the hold stands still while the other one sweeps."""
    with ExitStack() as stack:
        primary, standby, url, _ = stack.enter_context(pair(stack, between=False))
        store = stack.enter_context(object_store("moto", tmp_path / "store"))
        more = f"[retention]\nsweep_seconds = {SWEEP}\nbrake_percent = 100\n"
        apis = stack.enter_context(nodes(tmp_path, url, store.port, count, keep="1d", more=more))
        asked, sweeps = apis[0], apis[-1]
        held, due = (call["id"] for call in record(asked, 2))
        indexed(apis)
        assert asked.ask("PUT", "/retention", json={"rules": [], "default_days": 0}).status_code == 200
        standby.caught_up()
        standby.detach()
        put = asked.ask("PUT", f"/calls/{held}/hold", "privacy", json={"reason": "court"})
        assert put.status_code == 200 and not any("retention.sweep" in api.one.events() for api in apis)
        if asked is not sweeps:
            assert asked.one.process is not None
            asked.one.process.send_signal(signal.SIGSTOP)
        primary.stop()
        standby.promote()
        assert standby.ask("recorder_acme", "select count(*) from holds") == "0"
        until(lambda: "retention.sweep" in sweeps.one.events(), SWEEP * 2)
        assert standby.ask("recorder_acme", "select count(*) from erasure_calls") == "2", "it would be erased now"
        time.sleep(8)
        assert {call["id"] for call in sweeps.calls()} == {held, due}
        assert sweeps.sound(held) and sweeps.sound(due)
        if asked is not sweeps:
            assert asked.one.process is not None
            asked.one.process.send_signal(signal.SIGCONT)
        else:
            reloaded(asked)
        until(lambda: asked.gone(due) and sweeps.gone(due))
        for api in apis:
            until(lambda api=api: api.get(f"/calls/{held}").json()["hold"] is True)  # type: ignore[misc]
            assert api.sound(held)
            assert api.one.stop() == 0
