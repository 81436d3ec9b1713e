"""A letter is answered over the API of a running daemon: found, confirmed, reported, erased by two, proven later."""

from __future__ import annotations

import io
import json
import shutil
import signal
import wave
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pyrage
import pytest

from tests.daemon.api import WAIVER, Api, running, until
from tests.daemon.coded_calls import record
from tests.daemon.server import Server

PASSPHRASE = "correct horse battery"
pytestmark = pytest.mark.skipif(
    shutil.which("age") is None, reason="age is not installed (Debian: apt-get install age)"
)


def test_a_subject_request_is_answered_end_to_end(tmp_path: Path) -> None:
    with running(tmp_path, more="approve_erasures = true") as it:
        one, (call,) = it.one, record(it, seconds=2)
        party = next(party for party in call["parties"] if party["number"])
        letter = {"kind": ["access", "erasure"], "identities": [party["number"]], "reference": "letter 7"}
        case = it.ask("POST", "/requests", "privacy", json=letter).json()["id"]
        (found,) = it.get(f"/requests/{case}/candidates", "privacy").json()["items"]
        assert found["call"] == call["id"] and found["sure"]
        it.ask("PUT", f"/requests/{case}/selection", "privacy", json={"in": [found["call"]]})
        asked = {"media": "wav", "silence_others": True, "passphrase": PASSPHRASE}
        assert it.ask("POST", f"/requests/{case}/report", "privacy", json=asked).status_code == 202
        one.stop(signal.SIGKILL)
        one.start()
        report = finished(it, case)
        assert (report["state"], report["without_media"], report["not_separable"]) == ("done", [], [])
        data = it.get(f"/requests/{case}/report/file", "privacy").content
        heard_alone(pyrage.passphrase.decrypt(data, PASSPHRASE), call, found["parties"][0]["index"])
        assert b"age-encryption.org/v1" in data[:30]
        erasure = erased(it, case)
        assert it.get(f"/calls/{call['id']}").status_code == 404
        over = it.ask("POST", f"/requests/{case}/close", json={"outcome": "done"}).json()
        proven(one, tmp_path, over, erasure, report)
        assert one.stop() == 0
        said = one.log.read_text()
        assert "Traceback" not in said and party["number"] not in said and PASSPHRASE not in said


def finished(it: Api, case: str) -> dict[str, Any]:
    """Wait for a report; return what is told of it."""
    until(lambda: it.get(f"/requests/{case}/report", "privacy").json()["state"] != "running")
    return dict(it.get(f"/requests/{case}/report", "privacy").json())


def heard_alone(data: bytes, call: dict[str, Any], mine: int) -> None:
    """Listen to the report: the person on its channel, silence on the other."""
    with ZipFile(io.BytesIO(data)) as zip:
        assert zip.testzip() is None
        (told,) = json.loads(zip.read("calls.json"))["calls"]
        with wave.open(io.BytesIO(zip.read(told["media"]["file"]))) as sound:
            frames = memoryview(sound.readframes(sound.getnframes())).cast("h")
        everything = b"".join(zip.read(name) for name in zip.namelist())
    channels = {stream["party"]: set(frames[n::2]) for n, stream in enumerate(call["streams"])}
    assert len(channels) == 2 and channels.pop(mine) - {0} and list(channels.values()) == [{0}]
    for other in (party for n, party in enumerate(call["parties"]) if n != mine):
        assert other["number"] is None or other["number"].encode() not in everything


def erased(it: Api, case: str) -> dict[str, Any]:
    """Go on into an erasure, which somebody else approves."""
    path = f"/requests/{case}/erasure"
    assert it.ask("POST", path, "privacy", json={"reason": "Art. 17"}).status_code == 409
    assert it.ask("PUT", "/waiver", json={**WAIVER, "expires_at": None}).status_code == 200
    erasure = it.ask("POST", path, "privacy", json={"reason": "Art. 17"}).json()
    assert erasure["state"] == "approval"
    assert it.ask("POST", f"/requests/{case}/close", "privacy", json={"outcome": "done"}).status_code == 409
    assert it.ask("POST", f"/erasures/{erasure['id']}/approve", "approver").status_code == 200
    return it.erasure(erasure["id"], "done")


def proven(one: Server, folder: Path, over: dict[str, Any], erasure: dict[str, Any], report: dict[str, Any]) -> None:
    """Show later, offline, what was handed over and erased, without anybody's name."""
    assert over["identities"] is None and over["record"]["erasure"] == erasure["id"]
    assert over["record"]["reports"][0]["sha256"] == report["sha256"]
    for name, document in (("record", over), ("receipt", erasure)):
        (folder / name).write_text(json.dumps(document))
        assert one.run("audit", "verify", "--receipt", folder / name).returncode == 0
    (folder / "record").write_text(json.dumps({**over, "record": {**over["record"], "outcome": "refused"}}))
    assert one.run("audit", "verify", "--receipt", folder / "record").returncode == 1
    assert one.run("verify").returncode == 0
    assert one.run("audit", "verify").returncode == 0
