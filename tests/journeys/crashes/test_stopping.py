"""At SIGTERM calls are sealed and whoever called is told; without a successor they may end first."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from recorder.persist.checkpoint_file import left_ports
from recorder.simulate.plan import Plan
from tests.daemon.api import SECONDS, running
from tests.daemon.coded_calls import place, verified
from tests.daemon.server import Server

SPOKEN = 75
"""Packets of each stream before the stop."""


def test_a_stop_seals_running_calls_and_ends_every_wait(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        one = it.one

        async def meanwhile() -> None:
            await it.talking(3, 3 * 2 * SPOKEN)
            assert await asyncio.to_thread(one.stop) == 0

        placed = place([Plan(to=one.uri(), calls=3, seconds=20.0)], meanwhile)
        assert all(call.ended_by_recorder for call in placed)
        assert "recorder.stopped" in one.events()
        assert "Traceback" not in one.log.read_text()
        calls = json.loads(one.run("calls", "--json").stdout)["items"]
        assert [(call["state"], call["end_reason"]) for call in calls] == [("interrupted", "shutdown")] * 3
        assert all(stream["packets"] > 20 for call in calls for stream in call["streams"])
        assert verified(one) == []
        assert not list((tmp_path / "run/live").iterdir())


def answered(one: Server, method: str) -> int:
    """Return what is answered to a request outside any dialog."""
    with one.sbc() as sbc:
        return sbc.ask(method).status


@pytest.mark.parametrize("announced", ["by the command line", "by a signal"])
def test_without_a_successor_calls_are_drained_and_sealed(tmp_path: Path, announced: str) -> None:
    """A service manager keeps the sockets, and still this is the end."""
    drain = announced == "by the command line"
    with running(tmp_path, calls=4, kept=True, drain=drain, patience=12) as it:
        one, store = it.one, it.one.store

        async def meanwhile() -> None:
            await it.talking(4)
            assert [answered(one, method) for method in ("OPTIONS", "INVITE")] != [503, 503]
            process = one.process
            assert process
            if not drain:
                process.send_signal(signal.SIGUSR1)
            process.send_signal(signal.SIGTERM)
            await it.until(lambda: answered(one, "OPTIONS") == 503)
            assert answered(one, "INVITE") == 503
            assert await asyncio.to_thread(process.wait, SECONDS) == 0
            one.process = None

        calls = place([Plan(to=one.uri(), calls=2, seconds=10.0), Plan(to=one.uri(), calls=2, seconds=60.0)], meanwhile)
        assert [(call.well, call.ended_by_recorder) for call in calls] == [(True, False)] * 2 + [(False, True)] * 2
        stored = {call["session_id"]: call for call in json.loads(one.run("calls", "--json").stdout)["items"]}
        said = [(stored[call.session_id]["state"], stored[call.session_id]["end_reason"]) for call in calls]
        assert said == [("complete", "bye")] * 2 + [("interrupted", "shutdown")] * 2
        assert [stream["gaps"] for call in calls for stream in stored[call.session_id]["streams"]] == [[]] * 8
        assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in store.lines())
        assert list(left_ports(tmp_path / "run")) == []
        assert [name for name in store.names() if name.startswith("m")] == []
