"""A call of sipral, a phone library that records by SIPREC over TCP, at a real daemon.

It is no dependency: `make interop` installs it into an environment of its own (tests/interop/peers.txt).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.daemon.api import running

PYTHON = Path(__file__).resolve().parents[2] / ".venv" / "peers" / "bin" / "python"
CLIENT = Path(__file__).with_name("sipral_client.py")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not PYTHON.exists(), reason="no environment with sipral (sh .ci/peers makes it)"),
]


@pytest.mark.parametrize("srtp", [1, 3], ids=["plain", "sdes"])
def test_a_call_of_sipral_is_recorded(tmp_path: Path, srtp: int) -> None:
    with running(tmp_path) as it:
        words = [str(PYTHON), str(CLIENT), f"127.0.0.1:{it.one.udp}", str(srtp), "2"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=40, check=False)
        assert done.stdout.endswith("done\n"), done.stderr[-2000:]
        (call,) = it.ended()
        assert (call["state"], call["end_reason"]) == ("complete", "bye")
        assert {party["uri"] for party in call["parties"]} == {"sip:alice@127.0.0.1", "sip:bob@127.0.0.1"}
        assert [(stream["label"], stream["inferred"]) for stream in call["streams"]] == [("1", False), ("2", False)]
        assert all(bool(stream["srtp"]) == (srtp == 3) and not stream["rejected"] for stream in call["streams"])
        assert sum(stream["packets"] for stream in call["streams"]) > 0
