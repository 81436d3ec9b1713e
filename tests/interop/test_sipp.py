"""Calls of sipp after six dialects, over UDP and TCP, at a real daemon."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import sipp
from tests.journeys.server import Server, server

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not sipp.available(), reason="sipp is not installed (apt-get install sip-tester)"),
]
CALLS, RATE = 20, 40


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("sipp")) as one:
        widened = re.sub(r'ports = "[0-9-]+"', 'ports = "30000-37999"', one.config.read_text())
        one.config.write_text(widened)
        one.init()
        one.start()
        yield one


@pytest.mark.parametrize("transport", ["u1", "t1", "tn"])
@pytest.mark.parametrize("dialect", sipp.DIALECTS, ids=lambda dialect: dialect.name)
def test_every_call_of_the_dialect_is_recorded(
    daemon: Server, dialect: sipp.Dialect, transport: str, tmp_path: Path
) -> None:
    before = {call["id"] for call in calls(daemon)}
    done = sipp.run(tmp_path, dialect, daemon.udp, calls=CALLS, rate=RATE, transport=transport)
    faults = "".join(path.read_text(errors="replace")[:2000] for path in tmp_path.glob("*.err"))
    assert done.returncode == 0, faults + done.stdout[-2000:]
    fresh = finished(daemon, before)
    assert len(fresh) == CALLS
    names = {party["name"] for call in fresh for party in call["parties"]}
    # A new name of the same address is the same party.
    assert names == {"Alice", "Carla" if dialect.update or dialect.bye_metadata else "Bob"}


def finished(daemon: Server, before: set[object]) -> list[dict[str, object]]:
    """Wait until the index has every new call as complete."""
    end = time.monotonic() + 10
    while True:
        fresh = [call for call in calls(daemon) if call["id"] not in before and call["state"] == "complete"]
        if len(fresh) >= CALLS or time.monotonic() > end:
            return fresh


def calls(daemon: Server) -> list[dict[str, object]]:
    """Every call the daemon knows."""
    listed = daemon.run("calls", "--json", "--limit", "1000")
    assert listed.returncode == 0, listed.stderr
    found: list[dict[str, object]] = json.loads(listed.stdout)["items"]
    return found
