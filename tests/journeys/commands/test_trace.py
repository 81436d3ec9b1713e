"""`recorder trace` shows what the running daemon receives, sends, refuses and ignores, and ends by itself."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recorder.trace.control_socket import short_path
from recorder.trace.server import MAX_A_SECOND, MAX_TRACES
from tests.daemon.api import Api, running, until
from tests.daemon.sbc import OFFER, request
from tests.daemon.server import command


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("traced"), sources="127.0.0.1") as it:
        yield it


@contextmanager
def tracing(it: Api, *words: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run `recorder trace` once it sees messages; leave none behind."""
    before = it.one.events().count("trace.started")
    line = [sys.executable, "-m", "recorder", "trace", *map(str, words), "--config", str(it.one.config)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        it.one.until("trace.started", before + 1)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def call(it: Api, transport: str) -> None:
    with it.one.sbc(transport) as sbc:
        assert sbc.ask("OPTIONS").status == 200
        assert sbc.ask("INVITE", OFFER).status == 200
        assert sbc.ask("BYE").status == 200


def stranger(it: Api) -> None:
    """Send OPTIONS over UDP from an address that is nobody's."""
    with socket.socket(type=socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.77", 0))
        made.sendto(request("OPTIONS", "127.0.0.77:5060", "x"), (it.one.host, it.one.udp))


def test_every_transport_is_shown_and_why_some_get_no_answer(it: Api, tmp_path: Path) -> None:
    file = tmp_path / "trace.txt"
    with tracing(it, "--for", "1h", "-o", file) as process:
        for transport in ("udp", "tcp", "tls"):
            call(it, transport)
        stranger(it)
        until(lambda: "127.0.0.77: no answer: source" in file.read_text())
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1].decode()
        assert process.returncode == 0
    text = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    for transport in ("udp", "tcp", "tls"):
        assert f"over {transport}, here 127.0.0.1:{it.one.port(transport)}" in text
    assert text.count("    INVITE sip:user-") == text.count("    ACK sip:user-") == text.count("    BYE sip:user-") == 3
    assert text.count("    SIP/2.0 200 OK") >= 9
    assert text.count("m=audio 40000 RTP/AVP 8") == 3 and "a=recvonly" in text
    assert said.startswith(f"{file}: ") and "messages" in said


def test_it_counts_what_it_shows_and_overwrites_nothing(it: Api, tmp_path: Path) -> None:
    file, failed = tmp_path / "trace.txt", it.one.events().count("trace.failed")
    with tracing(it, "--for", "1h", "-o", file, "--json") as process:
        call(it, "udp")
        until(lambda: file.read_text().count("    SIP/2.0 200 OK") == 3)
        process.send_signal(signal.SIGINT)
        said = json.loads(process.communicate(timeout=30)[0])
    assert said == {"path": str(file), "messages": file.read_text().count(" over udp, here ")}
    assert said["messages"] >= 7
    again = it.one.run("trace", "--for", "1s", "-o", file)
    assert again.returncode == 2 and "exists already" in again.stderr
    assert it.one.events().count("trace.failed") == failed


def test_only_messages_of_a_source_if_asked(it: Api) -> None:
    with tracing(it, "--for", "1h", "--source", "127.0.0.77") as process:
        call(it, "udp")
        stranger(it)
        assert process.stdout is not None
        said = ""
        while "127.0.0.77: no answer: source" not in said:
            line = process.stdout.readline().decode()
            assert line, "it ended"
            said += line
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=30)[0].decode()
    assert "INVITE" not in said


def test_a_flood_is_counted_and_the_call_goes_on(it: Api) -> None:
    seconds = 5
    with tracing(it, "--for", f"{seconds}s", "--source", "127.0.0.1") as process, it.one.sbc("udp") as sbc:
        for number in range(300):
            sbc.send(request("OPTIONS", "127.0.0.1:9", f"f{number}"))
        assert sbc.ask("INVITE", OFFER).status == 200
        assert sbc.ask("BYE").status == 200
        said, told = process.communicate(timeout=30)
    assert b"skipped because there were too many at once" in told
    assert said.count(b" over udp, here ") <= MAX_A_SECOND * (seconds + 1)


def test_a_trace_ends_when_its_client_goes_away(it: Api) -> None:
    before = it.one.events().count("trace.ended")
    with tracing(it, "--for", "1h") as process:
        process.kill()
        it.one.until("trace.ended", before + 1)
    ended = [line for line in it.one.lines() if line["event"] == "trace.ended"][-1]
    assert ended["reason"] == "client"


def test_the_number_of_traces_at_once_is_limited(it: Api) -> None:
    with tracing(it, "--for", "1h"), tracing(it, "--for", "1h"):
        assert MAX_TRACES == 2
        third = it.one.run("trace", "--for", "1s")
        assert third.returncode == 3 and "already" in third.stderr


def test_nonsense_on_the_socket_changes_nothing(it: Api) -> None:
    for said in (
        b"\n",
        b"x" * 5000 + b"\n",
        b'{"seconds": "x"}\n',
        b'{"seconds": 1, "source": "x"}\n',
        b"[]\n",
        b"nul",
    ):
        with socket.socket(socket.AF_UNIX) as made, short_path(it.one.folder / "run") as path:
            made.settimeout(10)
            made.connect(path)
            made.sendall(said)
            made.shutdown(socket.SHUT_WR)
            assert made.recv(100) == b""
    call(it, "udp")
    assert not [event for event in it.one.events() if event in ("task.failed", "loop.failed")]


@pytest.mark.parametrize(
    ("words", "says"),
    [(("--for", "2d"), "1h at most"), (("--for", "0s"), "1h at most"), (("--source", "anna"), "is not an address")],
)
def test_wrong_use(it: Api, words: tuple[str, ...], says: str) -> None:
    done = it.one.run("trace", *words)
    assert done.returncode == 2 and says in done.stderr


def test_a_trace_ends_at_a_restart_and_needs_a_running_daemon(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        with tracing(it, "--for", "1h") as process:
            it.one.stop()
            said = process.communicate(timeout=30)[1].decode()
        assert "stopped or restarted" in said
        done = command("trace", "--for", "1s", "--config", it.one.config)
        assert done.returncode == 3 and f"recorder serve --config {it.one.config}" in done.stderr
        assert not (it.one.folder / "run" / "trace").exists()
        it.one.start()
        began = time.monotonic()
        assert it.one.run("trace", "--for", "1s").returncode == 0
        assert time.monotonic() - began >= 1
