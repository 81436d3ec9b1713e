"""Calls of sipp after twenty dialects, over UDP, TCP and TLS, at a real daemon."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recorder.config.loader import load
from recorder.persist.customers import open_credentials
from tests.daemon.api import Api, running, until
from tests.daemon.server import free_port
from tests.interop import sipp
from tests.interop.dialects import DIALECTS, Dialect

pytestmark = [
    pytest.mark.interop,
    pytest.mark.alone,  # a busy recorder refuses some of forty calls a second, as it should
    pytest.mark.skipif(not sipp.available(), reason="sipp is not installed (apt-get install sip-tester)"),
]
CALLS, RATE = 10, 40
PLAIN = """
[[customer]]
name = "cisco"
sources = ["127.0.0.2/32"]
country = "DE"
siprec = "plain"
late_offer = true
"""


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("sipp")
    with running(folder, start=False, media=30_000, ports=8000, sources="127.0.0.1/32", more=PLAIN) as it:
        credentials = open_credentials(load(it.one.config), "cisco")
        it.one.tokens["cisco"] = credentials.create("reader", ["listener"], datetime.now(UTC)).token
        it.one.start()
        yield it


@pytest.fixture(scope="module")
def tunnel(it: Api) -> Iterator[int]:
    """socat in front of the daemon's TLS port, since Debian's sipp has no TLS."""
    if shutil.which("socat") is None:
        pytest.skip("socat is not installed (apt-get install socat)")
    port = free_port()
    words = ["socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", f"OPENSSL:127.0.0.1:{it.one.tls},verify=0"]
    with subprocess.Popen(words) as process:
        until_it_listens(port)
        yield port
        process.terminate()


def until_it_listens(port: int) -> None:
    """Wait until somebody takes connections."""
    end = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end, "nobody listens"
            time.sleep(0.05)


@pytest.mark.parametrize("transport", ["u1", "t1", "tn"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_call_of_the_dialect_is_recorded(it: Api, dialect: Dialect, transport: str, tmp_path: Path) -> None:
    """Duties F1, F2, F3, F4, F5, F6, F8, F9, O6, R17, R18, S25, S26, S27."""
    placed(it, dialect, transport, tmp_path, it.one.udp)


@pytest.mark.parametrize("dialect", [each for each in DIALECTS if not each.plain], ids=lambda dialect: dialect.name)
def test_every_call_of_the_dialect_is_recorded_over_tls(it: Api, tunnel: int, dialect: Dialect, tmp_path: Path) -> None:
    placed(it, dialect, "tn", tmp_path, tunnel)


def placed(it: Api, dialect: Dialect, transport: str, folder: Path, port: int) -> None:
    """Place the calls and look at what was recorded of them."""
    before = {call["id"] for call in calls(it, dialect)}
    source = "127.0.0.2" if dialect.plain else "127.0.0.1"
    done = sipp.run(folder, dialect, port, calls=CALLS, rate=RATE, transport=transport, source=source)
    faults = "".join(path.read_text(errors="replace")[:2000] for path in folder.glob("*.err"))
    assert done.returncode == 0, faults + done.stdout[-2000:]
    fresh = finished(it, dialect, before)
    assert len(fresh) == CALLS * dialect.recordings
    # A new name of the same address is the same party.
    assert {party["name"] for call in fresh for party in call["parties"]} == dialect.names
    for call in fresh:
        assert len(call["streams"]) == dialect.streams
        assert len(call["streams"][0]["pauses"]) == dialect.pauses
        assert all(until for _, until in call["streams"][0]["pauses"])
    if dialect.recordings > 1:
        shown = it.get(f"/calls/{fresh[0]['id']}").json()
        assert len(shown["recordings"]) == dialect.recordings - 1


def finished(it: Api, dialect: Dialect, before: set[object]) -> list[dict[str, Any]]:
    """Wait until the index has every new call as complete."""

    def fresh() -> list[dict[str, Any]]:
        return [call for call in calls(it, dialect) if call["id"] not in before and call["state"] == "complete"]

    until(lambda: len(fresh()) >= CALLS * dialect.recordings)
    return fresh()


def calls(it: Api, dialect: Dialect) -> list[dict[str, Any]]:
    """Every call of the customer that the daemon knows."""
    return Api(it.one, "cisco", "cisco").calls() if dialect.plain else it.calls()
