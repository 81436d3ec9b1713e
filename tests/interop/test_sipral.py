"""A call of sipral, a phone library that records by SIPREC over TCP, at a real daemon.

It is no dependency: SIPRAL_PYTHON names a Python that has it (`pip install sipral==1.2.0`, in its own environment).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.journeys.server import server

PYTHON = os.environ.get("SIPRAL_PYTHON", "")
CLIENT = Path(__file__).with_name("sipral_client.py")
pytestmark = [pytest.mark.interop, pytest.mark.skipif(not PYTHON, reason="SIPRAL_PYTHON names no Python with sipral")]


@pytest.mark.parametrize("srtp", [1, 3], ids=["plain", "sdes"])
def test_a_call_of_sipral_is_recorded(tmp_path: Path, srtp: int) -> None:
    with server(tmp_path) as daemon:
        daemon.init()
        daemon.start()
        words = [PYTHON, str(CLIENT), f"127.0.0.1:{daemon.udp}", str(srtp), "2"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=40, check=False)
        assert done.stdout.endswith("done\n"), done.stderr[-2000:]
        end = time.monotonic() + 10
        while not (found := json.loads(daemon.run("calls", "--json").stdout)["items"]) and time.monotonic() < end:
            pass
        (call,) = found
        assert (call["state"], call["end_reason"]) == ("complete", "bye")
        assert {party["uri"] for party in call["parties"]} == {"sip:alice@127.0.0.1", "sip:bob@127.0.0.1"}
        assert [(stream["label"], stream["inferred"]) for stream in call["streams"]] == [("1", False), ("2", False)]
        assert all(bool(stream["srtp"]) == (srtp == 3) and not stream["rejected"] for stream in call["streams"])
        assert sum(stream["packets"] for stream in call["streams"]) > 0
