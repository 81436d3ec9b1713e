"""`recorder simulate` names what is wrong with a recorder's answers and reports, and the call is not as planned.

Each fault is planted in the code of a real daemon, in whichever of its processes loads the module.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.daemon.api import running

PLANT = """
import importlib.util, sys

class Planted:
    def find_spec(self, name, path=None, target=None):
        if name != {module!r}:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            exec({code!r}, module.__dict__)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Planted())
"""
ANSWER = """
import re
rightly = answer
def answer(*words, **more):
    sdp = rightly(*words, **more)
    return {change}
"""


class Fault(NamedTuple):
    """What is wrong with a recorder."""

    module: str
    code: str
    told: str
    """Part of the sentence about it."""
    words: tuple[str, ...] = ()
    seconds: float = 1.5


def answers(change: str, told: str, *words: str) -> Fault:
    """Have the recorder change its answers; `change` is an expression of `sdp`."""
    return Fault("sip.sdp.answer", ANSWER.format(change=change), told, words)


FAULTS = {
    "none": Fault("sip.sdp.answer", "", ""),
    "a wrong label": answers(r're.sub(rb"label:1\b", b"label:7", sdp)', "does not echo its a=label"),
    "labels of each other": answers(
        r're.sub(rb"label:(\d)", lambda found: b"label:%d" % (3 - int(found[1])), sdp)', "does not echo its a=label"
    ),
    "a lost video line": answers(
        r're.sub(rb"m=video \d+", b"m=video 0", sdp, count=1)', "refuses the video of stream 3", "--video"
    ),
    "a missing line": answers(r'sdp[: sdp.rindex(b"m=")]', "1 m-lines for 2 offered"),
    "one port for two streams": answers(
        r're.sub(rb"m=audio \d+", re.search(rb"m=audio \d+", sdp)[0], sdp)', "name the same port"
    ),
    "another key than it uses": answers(
        r're.sub(rb"inline:(.)", lambda found: b"inline:" + (b"B" if found[1] == b"A" else b"A"), sdp)',
        "is not protected by the key that the answer names",
    ),
    "another suite": answers(r'sdp.replace(b"SHA1_80", b"SHA1_32")', "tag and suite"),
    "another certificate than it names": answers(
        r're.sub(rb"(fingerprint:sha-\d+ )..", rb"\1" + (b"00" if b" 00:" not in sdp else b"11"), sdp)',
        "the recorder's certificate is not the one its answer names",
        "--srtp", "dtls",
    ),
    "no role in the handshake": answers(r'sdp.replace(b"setup:active", b"setup:actpass")', "role", "--srtp", "dtls"),
    "another payload type": answers(r're.sub(rb"(m=audio .*) 8\r", rb"\1 18\r", sdp)', "payload type"),
    "another codec": answers(r'sdp.replace(b"VP8/90000", b"H264/90000")', "to another codec", "--video"),
    "a stream of its own": answers(r'sdp.replace(b"a=recvonly", b"a=sendrecv")', "is sendrecv where sendonly"),
    "no sign of a recorder": Fault(
        "sip.ua.context",
        "rightly = contact\ncontact = lambda *words: rightly(*words).replace('srs', 'src')",
        "lacks +sip.srs",
    ),
    "reports about nobody's packets": Fault(
        "media.rtp.rtcp",
        "rightly = block\ndef block(ssrc, *words):\n    return rightly(ssrc ^ 1, *words)",
        "about an SSRC that was not sent",
    ),
    "reports without protection": Fault(
        "media.srtp.srtcp", "Srtcp.protect = lambda self, packet: packet", "is not protected by the key"
    ),
    "no reports": Fault(
        "media.rtp.rtcp",
        "rightly = receiver_report\nreceiver_report = lambda own_ssrc, cname, block=(): rightly(own_ssrc, cname)",
        "no receiver report about stream 1",
        seconds=13,
    ),
    "packets that it cannot open": Fault(
        "media.srtp.context",
        "begin = Context.__init__\n"
        "Context.__init__ = lambda self, suite, key, *more: begin(self, suite, bytes(len(key)), *more)",
        "no receiver report about stream 1",
        seconds=13,
    ),
}  # fmt: skip


def placed(to: str, fault: Fault) -> tuple[int, dict[str, Any]]:
    """Place a call; return the exit status, and what the client says of the call."""
    line = ["simulate", "--to", to, "--duration", str(fault.seconds), "--insecure", "--json", *fault.words]
    told = subprocess.run(
        [sys.executable, "-m", "recorder", *line], capture_output=True, text=True, timeout=120, check=False
    )
    assert told.stdout, told.stderr
    (call,) = json.loads(told.stdout)["each"]
    return told.returncode, call


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "sitecustomize.py").write_text(PLANT.format(module=fault.module, code=fault.code))
    with running(tmp_path, environment={"PYTHONPATH": str(tmp_path / "plant")}) as it:
        status, call = placed(it.one.uri("tls"), fault)
    assert call["answered"]
    if fault.told:
        assert status == 1 and any(fault.told in sentence for sentence in call["faults"]), call["faults"]
    else:
        assert status == 0 and call["faults"] == []
