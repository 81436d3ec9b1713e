"""`recorder support` writes one archive, says what is missing, and works without a daemon and without a journal."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path

from tests.daemon.api import running
from tests.daemon.sbc import OFFER
from tests.daemon.server import server

MEMBERS = {"versions.json", "configuration.json", "doctor.json", "metrics.txt", "incidents.jsonl", "log.jsonl"}


def members(file: Path) -> dict[str, bytes]:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as archive:
        found = {each.name.removeprefix("recorder-support/"): archive.extractfile(each) for each in archive}
        assert all((each.uid, each.gid, each.mode) == (0, 0, 0o600) for each in archive.getmembers())
        return {name: data.read() for name, data in found.items() if data is not None}


def test_an_archive_of_a_running_recorder(tmp_path: Path) -> None:
    with running(tmp_path / "place", sources="127.0.0.1") as it:
        with it.one.sbc("udp") as sbc, it.one.sbc("tcp", source="127.0.0.9") as stranger:
            assert sbc.ask("INVITE", OFFER).status == 200
            assert sbc.ask("BYE").status == 200
            assert stranger.ask("INVITE", OFFER).status == 403
        it.ended(1)
        file = tmp_path / "support.tar.gz"
        done = it.one.run("support", "-o", file, "--log", it.one.log, "--json")
        assert done.returncode == 0 and json.loads(done.stdout) == {"path": str(file)}
        again = it.one.run("support", "-o", file)
        assert again.returncode == 2 and "exists already" in again.stderr
    found = members(file)
    assert set(found) == MEMBERS | {"README.txt"}
    assert found["README.txt"].decode().endswith("Missing, and why:\nnothing\n")
    events = [json.loads(line)["event"] for line in found["log.jsonl"].splitlines()]
    assert {"recorder.ready", "call.started", "call.ended", "sip.refused"} <= set(events)
    assert json.loads(found["incidents.jsonl"].splitlines()[0])["kind"] == "call-refused"
    assert b'recorder_calls_total{result="complete"} 1.0' in found["metrics.txt"]
    checks = {each["name"]: each for each in json.loads(found["doctor.json"])["checks"]}
    assert checks["daemon"]["state"] == "ok" and "remedy" not in checks["daemon"]
    versions = json.loads(found["versions.json"])
    assert versions["kernel"] and versions["libraries"]["cryptography"] and versions["sysctl"]
    assert json.loads(found["configuration.json"])["sip"]["max_calls"] == 2000
    assert not any(str(tmp_path).encode() in data for data in found.values())


def test_what_cannot_be_had_is_said(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.init()
        one.replace('name = "acme"', 'nmae = "acme"')
        file = tmp_path / "support.tar.gz"
        done = one.run("support", "-o", file)
        assert done.returncode == 0, done
        assert "metrics.txt: the recorder does not run" in done.stderr
        found = members(file)
        assert b"metrics.txt: the recorder does not run" in found["README.txt"]
        assert "versions.json" in found and "configuration.json" in found
        wrong = one.run("support", "-o", tmp_path / "x", "--log", tmp_path / "none")
        assert wrong.returncode == 2 and not (tmp_path / "x").exists()
        assert one.run("support", "-o", tmp_path / "none" / "x").returncode == 3
