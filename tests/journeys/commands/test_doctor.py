"""`recorder doctor` beside a running recorder: what is well, what is not and what to type, and a call that is heard."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recorder.maintenance import bootstrap
from tests.daemon.api import Api, running, until
from tests.daemon.postgresql import cluster
from tests.daemon.sbc import request
from tests.daemon.server import Server, free_port, server, taken


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("doctor")) as it:
        yield it


def examined(one: Server, *words: str) -> dict[str, dict[str, Any]]:
    """Run the doctor; its checks by name."""
    done = one.run("doctor", *words, "--json")
    assert "Traceback" not in done.stderr
    said = json.loads(done.stdout)
    checks = {each["name"]: each for each in said["checks"]}
    failed = [each for each in said["checks"] if each["state"] == "fail"]
    assert said["ok"] is not failed and done.returncode == (1 if failed else 0), (done, failed)
    assert all(set(each) == {"name", "state", "detail", "remedy"} for each in said["checks"])
    assert all(each["remedy"] for each in said["checks"] if each["state"] != "ok")
    return checks


def states(checks: dict[str, dict[str, Any]], *names: str) -> list[str]:
    return [checks[name]["state"] for name in names]


def test_a_running_recorder_is_well(it: Api) -> None:
    before = {file: file.stat().st_mtime_ns for file in it.one.folder.rglob("*.toml")}
    checks = examined(it.one)
    wanted = ["start", "daemon", "certificate.sip", "certificate.sip.presented", "database", "disk.data"]
    assert states(checks, *wanted) == ["ok"] * len(wanted), checks
    ports = [each for name, each in checks.items() if name.startswith("port.")]
    assert [each["state"] for each in ports] == ["ok"] * 4, ports
    assert states(checks, "firewall", "sbc.from", "trial-call") == ["unchecked"] * 3
    assert before == {file: file.stat().st_mtime_ns for file in it.one.folder.rglob("*.toml")}
    said = it.one.run("doctor")
    assert "ok         daemon: it runs and accepts calls" in said.stdout
    assert " 0 failed, " in said.stderr


def test_a_trial_call_that_no_customer_would_take_is_not_placed(tmp_path: Path) -> None:
    with running(tmp_path, sources="192.0.2.5") as it:
        checks = examined(it.one, "--call", "acme")
        assert checks["trial-call"]["state"] == "unchecked"
        assert '"127.0.0.1" to sources of acme' in checks["trial-call"]["remedy"]
        assert checks["sbc.192.0.2.5.to"]["state"] == "warn"
        done = it.one.run("doctor", "--call", "nobody")
        assert done.returncode == 2 and "acme" in done.stderr


def test_an_sbc_that_answers_and_one_that_does_not(it: Api) -> None:
    silent = f"sip:127.0.0.1:{free_port()};transport=udp"
    checks = examined(it.one, "--sbc", it.one.uri("tls"), "--sbc", silent)
    here, there = (name for name in checks if name.startswith("sbc.127.0.0.1:"))
    assert checks[here]["state"] == "ok" and checks[here]["detail"].startswith("200 over tls")
    assert checks[there]["state"] == "warn"
    assert it.one.run("doctor", "--sbc", "anna").returncode == 2


def test_listening_shows_who_was_refused(tmp_path: Path) -> None:
    with running(tmp_path, sources="127.0.0.1") as it:
        line = [sys.executable, "-m", "recorder", "doctor", "--listen", "5s", "--json", "--config", str(it.one.config)]
        with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
            it.one.until("trace.started")
            with it.one.sbc("udp") as sbc, socket.socket(type=socket.SOCK_DGRAM) as stranger:
                assert sbc.ask("OPTIONS").status == 200
                stranger.bind(("127.0.0.9", 0))
                stranger.sendto(request("OPTIONS", "127.0.0.9:5060", "x"), ("127.0.0.1", it.one.udp))
            said = json.loads(process.communicate(timeout=60)[0])
    refused = [each for each in said["checks"] if each["name"] == "sbc.refused"]
    assert [each["detail"] for each in refused] == ["127.0.0.9: no answer: source (1 times)"]


def test_what_is_wrong_is_named_with_what_to_type(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.init()
        checks = examined(one)
        assert states(checks, "daemon", "start") == ["fail", "ok"]
        assert f"recorder serve --config {one.config}" in checks["daemon"]["remedy"]
        said = " ".join(each["remedy"] for name, each in checks.items() if not name.startswith("clock"))
        assert not [word for word in ("systemctl", "journalctl", "recorderctl") if word in said]
        assert states(checks, f"port.udp:127.0.0.1:{one.udp}") == ["fail"]
        with taken(one, "udp"):
            checks = examined(one)
            assert checks[f"port.udp:127.0.0.1:{one.udp}"]["detail"] == "another program listens"
            assert states(checks, "start.sip.listen[0]") == ["fail"]
        old = datetime.now(UTC) - timedelta(days=bootstrap.CERTIFICATE_DAYS + 1)
        soon = datetime.now(UTC) - timedelta(days=bootstrap.CERTIFICATE_DAYS - 10)
        for made, state in ((old, "fail"), (soon, "warn")):
            public, private = bootstrap.certificate(["rec.example"], made)
            (tmp_path / "tls.crt").write_bytes(public)
            (tmp_path / "tls.key").write_bytes(private)
            assert states(examined(one), "certificate.sip") == [state]
        (tmp_path / "tls.key").write_bytes(bootstrap.certificate(["x.example"])[1])
        assert states(examined(one), "certificate.sip") == ["fail"]
        one.replace('root = "file:', 'root = "credential:recorder-root-key" # "')
        checks = examined(one)
        assert (
            checks["start.keys.root"]["state"] == "unchecked" and "recorderctl" in checks["start.keys.root"]["remedy"]
        )
        one.config.write_text("[")
        assert one.run("doctor").returncode == 2


def test_a_daemon_that_hangs_does_not_hang_the_doctor(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        assert it.one.process is not None
        it.one.process.send_signal(signal.SIGSTOP)
        try:
            checks = examined(it.one, "--call", "acme")
        finally:
            it.one.process.send_signal(signal.SIGCONT)
        assert states(checks, "daemon", "trial-call") == ["fail", "fail"]
        assert checks["clock"]["state"] in ("ok", "warn")
        until(lambda: it.health("/readyz") == 200)


def test_the_doctor_checks_postgresql(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with cluster() as database, server(place) as one:
        one.config.write_text(one.config.read_text() + f'[storage]\ndatabase = "{database.url}"\n')
        database.start()
        one.init()
        one.start()
        checks = examined(one)
        names = ("database", "database.role", "database.tls", "database.clock", "start")
        assert states(checks, *names) == ["ok"] * 5, checks
        assert checks["database"]["detail"].startswith("PostgreSQL ")
        database.stop()
        checks = examined(one)
        assert checks["database"]["state"] == "fail" and checks["start.storage.database"]["state"] == "warn"
        assert one.stop() == 0
