"""A letter is answered over the API of a running daemon: found, confirmed, reported, erased by two, proven later."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import time
import wave
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx2
import pytest

from tests.daemon.server import Server, command, server

PASSPHRASE = "correct horse battery"
pytestmark = pytest.mark.skipif(
    shutil.which("age") is None, reason="age is not installed (Debian: apt-get install age)"
)


def client(one: Server, token: str) -> httpx2.Client:
    base = f"http://127.0.0.1:{one.api}/api/v1/customers/acme"
    return httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=40)


def token(one: Server, role: str) -> str:
    made = one.run("token", "create", "--customer", "acme", "--role", role, "--name", role, "--json")
    return str(json.loads(made.stdout)["token"])


def until(look: Any, well: Any) -> Any:
    """Look until what is seen is well."""
    end = time.monotonic() + 40
    while not well(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def placed(one: Server, api: httpx2.Client) -> dict[str, Any]:
    """Place a call; return it once it is over."""
    call = ("--to", f"sip:rec@127.0.0.1:{one.udp}", "--calls", "1", "--duration", "2", "--json")
    until(lambda: command("simulate", *call), lambda done: done.returncode == 0)  # a busy machine refuses calls
    ended = until(lambda: api.get("/calls").json()["items"], lambda calls: calls and calls[0]["ended_at"])
    return dict(ended[0])


def opened(folder: Path, data: bytes, secret: str) -> bytes:
    """Decrypt with a passphrase; age itself wants a terminal for it, so its own library does."""
    pyrage = pytest.importorskip("pyrage")
    (folder / "report.age").write_bytes(data)
    return bytes(pyrage.passphrase.decrypt(data, secret))


def test_a_subject_request_is_answered_end_to_end(tmp_path: Path) -> None:
    with server(tmp_path, more="approve_erasures = true") as one:
        admin = one.init()
        one.start()
        privacy, approver = token(one, "privacy"), token(one, "approver")
        with client(one, admin) as api:
            call = placed(one, api)
        party = next(party for party in call["parties"] if party["number"])
        letter = {"kind": ["access", "erasure"], "identities": [party["number"]], "reference": "letter 7"}
        with client(one, privacy) as api:
            case = api.post("/requests", json=letter).json()["id"]
            (found,) = api.get(f"/requests/{case}/candidates").json()["items"]
            assert found["call"] == call["id"] and found["sure"]
            api.put(f"/requests/{case}/selection", json={"in": [found["call"]]})
            asked = {"media": "wav", "silence_others": True, "passphrase": PASSPHRASE}
            assert api.post(f"/requests/{case}/report", json=asked).status_code == 202
        one.stop(signal.SIGKILL)
        one.start()
        with client(one, privacy) as api:
            report = until(
                lambda: api.get(f"/requests/{case}/report").json(), lambda report: report["state"] != "running"
            )
            assert (report["state"], report["without_media"], report["not_separable"]) == ("done", [], [])
            data = api.get(f"/requests/{case}/report/file").content
            heard_alone(opened(tmp_path, data, PASSPHRASE), call, found["parties"][0]["index"])
            assert b"age-encryption.org/v1" in data[:30]
            erasure = erased(one, api, approver, case)
        with client(one, admin) as api:
            assert api.get(f"/calls/{call['id']}").status_code == 404
            over = api.post(f"/requests/{case}/close", json={"outcome": "done"}).json()
        proven(one, tmp_path, over, erasure, report)
        assert one.stop() == 0
        said = one.log.read_text()
        assert "Traceback" not in said and party["number"] not in said and PASSPHRASE not in said


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


def erased(one: Server, api: httpx2.Client, approver: str, case: str) -> dict[str, Any]:
    """Go on into an erasure, which somebody else approves."""
    assert api.post(f"/requests/{case}/erasure", json={"reason": "Art. 17"}).status_code == 409
    waiver = {"document_sha256": "00" * 32, "signed_by": "V", "signed_at": "2026-01-01T00:00:00Z", "scope": "all"}
    with client(one, token(one, "admin")) as admin:
        assert admin.put("/waiver", json={**waiver, "expires_at": None}).status_code == 200
    erasure = api.post(f"/requests/{case}/erasure", json={"reason": "Art. 17"}).json()
    assert erasure["state"] == "approval"
    assert api.post(f"/requests/{case}/close", json={"outcome": "done"}).status_code == 409
    with client(one, approver) as second:
        assert second.post(f"/erasures/{erasure['id']}/approve").status_code == 200
    return dict(until(lambda: api.get(f"/erasures/{erasure['id']}").json(), lambda found: found["state"] == "done"))


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


def test_a_report_for_a_key_is_opened_by_the_age_command(tmp_path: Path) -> None:
    key = tmp_path / "key"
    said = subprocess.run(["age-keygen", "-o", key], capture_output=True, check=True, text=True).stderr
    with server(tmp_path) as one:
        admin = one.init()
        one.start()
        with client(one, admin) as api:
            case = api.post("/requests", json={"kind": "access", "identities": ["nobody@pbx.example"]}).json()["id"]
            api.put(f"/requests/{case}/selection", json={})
            api.post(f"/requests/{case}/report", json={"recipient": said.split()[-1]})
            until(lambda: api.get(f"/requests/{case}/report").json()["state"], lambda state: state == "done")
            (tmp_path / "report.age").write_bytes(api.get(f"/requests/{case}/report/file").content)
        assert one.stop() == 0
    made = subprocess.run(["age", "-d", "-i", key, tmp_path / "report.age"], capture_output=True, check=True)
    with ZipFile(io.BytesIO(made.stdout)) as zip:
        assert "report.html" in zip.namelist()
