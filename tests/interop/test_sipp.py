"""Calls of sipp after twenty dialects, over UDP, TCP and TLS, at a real daemon."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.daemon.server import Server, free_port, server
from tests.interop import sipp
from tests.interop.dialects import DIALECTS, Dialect

pytestmark = [
    pytest.mark.interop,
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


class Daemon(NamedTuple):
    """A daemon and the way to what it recorded."""

    server: Server
    api: httpx2.Client
    tokens: dict[str, dict[str, str]]  # header fields by customer


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with server(tmp_path_factory.mktemp("sipp")) as one:
        text = re.sub(r'ports = "[0-9-]+"', 'ports = "30000-37999"', one.config.read_text())
        one.config.write_text(text.replace('sources = ["127.0.0.0/8"]', 'sources = ["127.0.0.1/32"]') + PLAIN)
        tokens = {"acme": one.init()}
        made = one.run("token", "create", "--customer", "cisco", "--role", "listener", "--name", "reader", "--json")
        tokens["cisco"] = json.loads(made.stdout)["token"]
        one.start()
        with httpx2.Client(base_url=f"http://127.0.0.1:{one.api}/api/v1/customers", timeout=30) as api:
            yield Daemon(one, api, {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()})


@pytest.fixture(scope="module")
def tunnel(daemon: Daemon) -> Iterator[int]:
    """socat in front of the daemon's TLS port, since Debian's sipp has no TLS."""
    if shutil.which("socat") is None:
        pytest.skip("socat is not installed (apt-get install socat)")
    port = free_port()
    words = [
        "socat",
        f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork",
        f"OPENSSL:127.0.0.1:{daemon.server.tls},verify=0",
    ]
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
def test_every_call_of_the_dialect_is_recorded(
    daemon: Daemon, dialect: Dialect, transport: str, tmp_path: Path
) -> None:
    """Duties F1, F2, F3, F4, F5, F6, F8, F9, O6, R17, R18, S25, S26, S27."""
    placed(daemon, dialect, transport, tmp_path, daemon.server.udp)


@pytest.mark.parametrize("dialect", [each for each in DIALECTS if not each.plain], ids=lambda dialect: dialect.name)
def test_every_call_of_the_dialect_is_recorded_over_tls(
    daemon: Daemon, tunnel: int, dialect: Dialect, tmp_path: Path
) -> None:
    placed(daemon, dialect, "tn", tmp_path, tunnel)


def placed(daemon: Daemon, dialect: Dialect, transport: str, folder: Path, port: int) -> None:
    """Place the calls and look at what was recorded of them."""
    before = {call["id"] for call in calls(daemon, dialect)}
    source = "127.0.0.2" if dialect.plain else "127.0.0.1"
    done = sipp.run(folder, dialect, port, calls=CALLS, rate=RATE, transport=transport, source=source)
    faults = "".join(path.read_text(errors="replace")[:2000] for path in folder.glob("*.err"))
    assert done.returncode == 0, faults + done.stdout[-2000:]
    fresh = finished(daemon, dialect, before)
    assert len(fresh) == CALLS * dialect.recordings
    # A new name of the same address is the same party.
    assert {party["name"] for call in fresh for party in call["parties"]} == dialect.names
    for call in fresh:
        assert len(call["streams"]) == dialect.streams
        assert len(call["streams"][0]["pauses"]) == dialect.pauses
        assert all(until for _, until in call["streams"][0]["pauses"])
    if dialect.recordings > 1:
        shown = daemon.api.get(f"/acme/calls/{fresh[0]['id']}", headers=daemon.tokens["acme"]).json()
        assert len(shown["recordings"]) == dialect.recordings - 1


def finished(daemon: Daemon, dialect: Dialect, before: set[object]) -> list[dict[str, Any]]:
    """Wait until the index has every new call as complete."""
    end = time.monotonic() + 60
    while True:
        fresh = [call for call in calls(daemon, dialect) if call["id"] not in before and call["state"] == "complete"]
        if len(fresh) >= CALLS * dialect.recordings or time.monotonic() > end:
            return fresh


def calls(daemon: Daemon, dialect: Dialect) -> list[dict[str, Any]]:
    """Every call of the customer that the daemon knows."""
    customer = "cisco" if dialect.plain else "acme"
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while not found or cursor:
        words = {"limit": 200, **({"cursor": cursor} if cursor else {})}
        answer = daemon.api.get(f"/{customer}/calls", params=words, headers=daemon.tokens[customer])
        page = answer.raise_for_status().json()
        found, cursor = found + page["items"], page["next_cursor"]
        if not cursor:
            break
    return found
