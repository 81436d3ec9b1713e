"""The demo as a new user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from pathlib import Path


def test_the_demo_records_two_calls_and_plays_them(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "recorder", "demo", "--no-browser"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("  heard: ") == 4
    assert "Traceback" not in done.stderr
    (folder,) = tmp_path.glob("recorder-demo-*")
    files = sorted(p.name for p in (folder / "audio").iterdir())
    assert files == ["g711.wav", "opus.wav"]
    with wave.open(str(folder / "audio" / "g711.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        assert file.getnframes() >= 8000 * 7
