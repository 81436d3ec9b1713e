"""The demo as a new user runs it."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import wave
from pathlib import Path

import httpx2
import pytest

from tests.daemon.server import command


def test_the_demo_records_two_calls_and_plays_them(tmp_path: Path) -> None:
    done = command("demo", "--no-browser", timeout=90, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("  heard: ") == 4
    assert "Traceback" not in done.stderr
    link = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"https://localhost:[0-9]+/invitation\?customer=demo&key=[0-9a-f]{64}", link)
    (folder,) = tmp_path.glob("recorder-demo-*")
    files = sorted(p.name for p in (folder / "audio").iterdir())
    assert files == ["g711.wav", "opus.wav"]
    with wave.open(str(folder / "audio" / "g711.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        assert file.getnframes() >= 8000 * 7


def test_a_voice_that_is_not_heard_can_be_looked_at(tmp_path: Path) -> None:
    """The folder that the demo has just named is there."""
    script = (
        "import sys; from dataclasses import replace; from recorder.cli import demo;"
        "demo.SCENES = (replace(demo.SCENES[0], least_snr_db=99.0),); sys.exit(demo.run_demo(None))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=90, check=False
    )
    assert done.returncode == 1 and done.stdout.count("  NOT HEARD: ") == 2, done.stdout + done.stderr
    (folder,) = tmp_path.glob("recorder-demo-*")
    assert f"Remove it:      rm -r {folder}\n" in done.stdout and (folder / "audio" / "g711.wav").exists()


def test_a_kept_demo_can_be_signed_into_and_played(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    line = [sys.executable, "-u", "-m", "recorder", "demo", "--keep", str(folder), "--no-browser"]
    demo = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        lines = iter(demo.stdout.readline, "")
        link = next(line.strip() for line in lines if "/invitation?" in line)
        context = ssl.create_default_context(cafile=folder / "admin.crt")
        with httpx2.Client(verify=context, base_url=link.partition("/invitation")[0], timeout=30) as browser:
            page = browser.get(link)
            assert page.status_code == 200
            key = link.rpartition("=")[2]
            form = {"customer": "demo", "key": key, "password": "a fine passphrase", "again": "a fine passphrase"}
            assert browser.post("/invitation", data=form).status_code == 303
            assert "Anna Schmidt" in browser.get("/calls").text
            disabled = command("admin", "disable", "demo", "--config", folder / "recorder.toml")
            assert disabled.returncode == 0, disabled.stderr
            assert browser.get("/calls").status_code == 303  # with the next request, not seconds later
        log = (folder / "recorder.log").read_text()
        assert not [word for word in (key, "a fine passphrase", "Anna Schmidt") if word in log]
    finally:
        demo.terminate()  # not only Ctrl-C takes the daemon along
        assert demo.wait(30) in (0, 1)  # whether every voice was heard is the story above
        demo.stdout.close()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(link.partition("/invitation")[0], verify=context)
