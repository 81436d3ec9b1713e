"""From a call over SIP to a zip with its sound, over the API of a running daemon; a kill -9 loses no export."""

from __future__ import annotations

import io
import json
import signal
import time
import wave
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx2

from tests.daemon.server import Server, command, server


def client(one: Server, token: str) -> httpx2.Client:
    base = f"http://127.0.0.1:{one.api}/api/v1/customers/acme"
    return httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=40)


def done(api: httpx2.Client, id: str) -> dict[str, Any]:
    end = time.monotonic() + 30
    while True:
        found = api.get(f"/exports/{id}").json()
        assert "state" in found, found
        if found["state"] != "running":
            return dict(found)
        assert time.monotonic() < end, found
        time.sleep(0.05)


def test_a_call_is_exported_with_its_sound(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        token = one.init()
        one.start()
        placed = command(
            "simulate", "--to", f"sip:rec@127.0.0.1:{one.udp}", "--calls", "2", "--duration", "2", "--json"
        )
        assert placed.returncode == 0, placed.stderr
        with client(one, token) as api:
            end = time.monotonic() + 30
            while len(calls := api.get("/calls").json()["items"]) < 2 or any(c["ended_at"] is None for c in calls):
                assert time.monotonic() < end, calls
                time.sleep(0.1)
            asked = {"calls": [call["id"] for call in calls], "format": "xlsx", "media": "wav", "reason": "Art. 20"}
            id = api.post("/exports", json=asked).json()["id"]
            found = done(api, id)
            assert found["state"] == "done", found
            file = api.get(f"/exports/{id}/file")
            assert len(file.content) == found["size_bytes"]
            with ZipFile(io.BytesIO(file.content)) as zip:
                assert zip.testzip() is None
                told = json.loads(zip.read("media.json"))["media"]
                assert [each["problem"] for each in told] == [None, None]
                with wave.open(io.BytesIO(zip.read(told[0]["file"]))) as sound:
                    assert sound.getnchannels() == 2 and sound.getnframes() >= 8000
            seen = api.get(f"/calls/{calls[0]['id']}/waveform").json()["channels"]
            assert [max(channel["peaks"]) > 0 for channel in seen] == [True, True]
            later = api.post("/exports", json={**asked, "format": "csv"}).json()["id"]
        one.stop(signal.SIGKILL)
        one.start()
        with client(one, token) as api:
            assert done(api, later)["state"] == "done"
            assert api.get(f"/exports/{id}/file").content == file.content
        assert one.run("verify").returncode == 0
        assert "Traceback" not in one.log.read_text()
