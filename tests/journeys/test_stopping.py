"""SIGTERM: running calls are sealed and indexed, and whoever called is told."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.persist.checkpoint_file import left_ports
from recorder.simulate.plan import Plan
from tests.daemon.coded_calls import SECONDS, Watched, own_place, place
from tests.daemon.descriptor_store import descriptor_store
from tests.daemon.server import STOP_SECONDS, Server, server

SPOKEN = 75
"""Packets of each stream before the stop."""


def test_a_stop_seals_running_calls_and_ends_every_wait(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        it = Watched(one, one.init())
        one.start()
        words = [
            "--to",
            f"sip:rec@127.0.0.1:{one.udp}",
            "--calls",
            "3",
            "--duration",
            "20",
            "--transport",
            "udp",
            "--json",
        ]
        client = subprocess.Popen(
            [sys.executable, "-m", "recorder", "simulate", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            asyncio.run(it.talking(3, 3 * 2 * SPOKEN))
            assert one.stop() == 0
            assert "recorder.stopped" in one.events()
            assert "Traceback" not in one.log.read_text()
            calls = json.loads(one.run("calls", "--json").stdout)["items"]
            assert [call["state"] for call in calls] == ["interrupted"] * 3
            assert all(stream["packets"] > 20 for call in calls for stream in call["streams"])
            assert {call["end_reason"] for call in calls} == {"shutdown"}
            verified = one.run("verify", "--json")
            assert json.loads(verified.stdout)["defects"] == []
            assert verified.returncode == 0
            assert not list((tmp_path / "run/live").iterdir())
        finally:
            client.kill()
            client.communicate()


def test_a_stop_without_calls_is_quick(tmp_path: Path) -> None:
    with server(tmp_path, drain=True, patience=10 * round(STOP_SECONDS)) as one:
        one.init()
        for _ in range(2):
            one.start()
            assert one.stop() == 0  # within STOP_SECONDS, so it waits for nobody


QUESTION = """{method} sip:rec@{host} SIP/2.0\r
Via: SIP/2.0/UDP {host}:5070;rport;branch=z9hG4bK{number}\r
Max-Forwards: 70\r
From: <sip:sbc@{host}>;tag=drain\r
To: <sip:rec@{host}>\r
Call-ID: drain-{number}\r
CSeq: 1 {method}\r
Contact: <sip:sbc@{host}:5070>;+sip.src\r
Require: siprec\r
Content-Length: 0\r
\r
"""


_numbers = itertools.count(1)


def answered(one: Server, method: str) -> int:
    """What is answered to a request outside any dialog."""
    question = QUESTION.format(method=method, host=one.host, number=next(_numbers))
    with socket.socket(type=socket.SOCK_DGRAM) as asker:
        asker.settimeout(SECONDS)
        asker.sendto(question.encode(), (one.host, one.udp))
        while True:
            found = re.match(rb"SIP/2.0 ([2-6]\d\d)", asker.recv(65_536))
            if found:
                return int(found[1])


@pytest.mark.parametrize("announced", ["by the command line", "by a signal"])
def test_without_a_successor_calls_are_drained_and_sealed(tmp_path: Path, announced: str) -> None:
    """A service manager keeps the sockets, and still this is the end."""
    drain = announced == "by the command line"
    with (
        descriptor_store(tmp_path) as store,
        server(tmp_path, store=store, drain=drain, patience=12, **own_place(4)) as one,
    ):
        it = Watched(one, one.init())
        one.start()
        to = f"sip:rec@{one.host}:{one.udp};transport=udp"

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

        calls = place([Plan(to=to, calls=2, seconds=4.0), Plan(to=to, calls=2, seconds=60.0)], meanwhile)
        assert [(call.well, call.ended_by_recorder) for call in calls] == [(True, False)] * 2 + [(False, True)] * 2
        stored = {call["session_id"]: call for call in json.loads(one.run("calls", "--json").stdout)["items"]}
        said = [(stored[call.session_id]["state"], stored[call.session_id]["end_reason"]) for call in calls]
        assert said == [("complete", "bye")] * 2 + [("interrupted", "shutdown")] * 2
        assert [stream["gaps"] for call in calls for stream in stored[call.session_id]["streams"]] == [[]] * 8
        assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in store.lines())
        assert list(left_ports(tmp_path / "run")) == []
        assert [name for name in store.names() if name.startswith("m")] == []


def test_a_second_stop_signal_ends_the_drain(tmp_path: Path) -> None:
    with server(tmp_path, drain=True, patience=60, **own_place(1)) as one:
        it = Watched(one, one.init())
        one.start()

        async def meanwhile() -> None:
            await it.talking(1)
            assert one.process
            one.process.send_signal(signal.SIGTERM)
            await it.until(lambda: "calls.draining" in one.events())
            assert await asyncio.to_thread(one.stop) == 0

        (call,) = place([Plan(to=f"sip:rec@{one.host}:{one.udp};transport=udp", seconds=60.0)], meanwhile)
        assert call.ended_by_recorder
