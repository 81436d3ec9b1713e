"""SIGTERM: running calls are sealed and indexed, and whoever called is told."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.journeys.server import Server, server


def active(one: Server) -> int:
    """How many calls are being recorded, as the metrics say."""
    with urllib.request.urlopen(f"http://127.0.0.1:{one.api}/metrics", timeout=5) as page:
        found = [line for line in page.read().decode().splitlines() if line.startswith("recorder_calls_active")]
    return int(float(found[0].split()[1]))


def test_running_calls_are_sealed_and_nobody_is_left_waiting(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.init()
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
            end = time.monotonic() + 15
            while active(one) < 3:
                assert time.monotonic() < end, one.log.read_text()
                time.sleep(0.1)
            time.sleep(1.5)
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
            assert not list((tmp_path / "run/spool").iterdir())
        finally:
            client.kill()
            client.communicate()


def test_a_stop_without_calls_is_quick_and_can_be_followed_by_a_start(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.init()
        for _ in range(2):
            one.start()
            began = time.monotonic()
            assert one.stop() == 0
            assert time.monotonic() - began < 3
