"""What our receiver reports say, by the statistics of a foreign sender: GStreamer loses packets on the way."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sip.sdp.description import SessionDescription
from tests.daemon.api import running
from tests.daemon.server import free_port

pytestmark = pytest.mark.interop
PYTHON = "/usr/bin/python3"
"""The system's, whose packages Debian makes: its bindings of GStreamer fit no other."""
SENDER = Path(__file__).with_name("gst_sender.py")
SECONDS, AFTER = 16.0, 8.0
DROPPED = 0.05
FRAMES_A_SECOND = 50
SAMPLES_A_MS = 8
SUITE = "AES_CM_128_HMAC_SHA1_80"


def offer(port: int, key: bytes | None) -> bytes:
    profile, crypto = "RTP/AVP", ""
    if key:
        profile, crypto = "RTP/SAVP", f"a=crypto:1 {SUITE} inline:{base64.b64encode(key).decode()}\r\n"
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} {profile} 8\r\na=label:1\r\na=sendonly\r\n{crypto}"
    ).encode()


def even_port(*taken: int) -> int:
    """A pair of ports that are none of the daemon's: at its own an offer has no media."""
    while not {port := free_port() // 2 * 2, port + 1}.isdisjoint(taken):
        pass
    return port


def send(told: dict[str, Any]) -> dict[str, Any]:
    """Have GStreamer send, and tell what it heard of it."""
    done = subprocess.run(
        [PYTHON, "-P", "-s", str(SENDER)],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module", autouse=True)
def _bindings() -> None:
    probe = "import gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst"
    if not shutil.which(PYTHON) or subprocess.run([PYTHON, "-c", probe], capture_output=True).returncode:
        pytest.skip("GStreamer's bindings are not there (Debian: python3-gst-1.0, gstreamer1.0-plugins-good, -bad)")


@pytest.mark.parametrize("secure", [False, True], ids=["rtcp", "srtcp"])
def test_a_foreign_sender_counts_the_loss_that_we_store_t2(tmp_path: Path, secure: bool) -> None:
    with running(tmp_path, more="sdes_without_tls = true") as it, it.one.sbc() as sbc:
        key, port = os.urandom(30) if secure else None, even_port(it.one.udp, it.one.tls, it.one.api)
        answer = sbc.ask("INVITE", offer(port, key))
        assert answer.status == 200
        (media,) = SessionDescription.parse(answer.body).media
        theirs = re.findall(rb"inline:([A-Za-z0-9+/=]+)", answer.body)
        assert bool(theirs) is secure
        told = {"local": port, "host": "127.0.0.1", "port": media.port, "rtcp": media.port + 1}
        told |= {"seconds": SECONDS, "after": AFTER, "drop": DROPPED, "ours": key.hex() if key else None}
        told["theirs"] = base64.b64decode(theirs[0]).hex() if theirs else None
        heard = send(told)
        assert sbc.ask("BYE").status == 200
        (call,) = it.ended()
        (stream,) = call["streams"]
        assert it.one.stop() == 0
    assert heard["sent"] > 0.5 * SECONDS * FRAMES_A_SECOND
    last = heard["reports"][-1]
    assert stream["lost"] == last["packetslost"]
    assert 0.3 * DROPPED * heard["sent"] < stream["lost"] < 3 * DROPPED * heard["sent"]
    # the last packets may be lost without anybody's knowing
    assert 0 <= heard["sent"] - stream["packets"] - stream["lost"] <= 5
    spans = list(pairwise(heard["reports"]))
    assert spans
    for before, after in spans:  # RFC 3550 section 6.4.1: lost over expected since the report before, in 256ths
        expected = after["exthighestseq"] - before["exthighestseq"]
        lost = after["packetslost"] - before["packetslost"]
        assert after["fractionlost"] == (256 * lost // expected if expected and lost > 0 else 0)
    assert any(after["fractionlost"] for _, after in spans)
    assert abs(last["jitter"] / SAMPLES_A_MS - stream["jitter_ms"]) < 1
    assert any(0 < report["round-trip"] < 65_536 for report in heard["reports"])
