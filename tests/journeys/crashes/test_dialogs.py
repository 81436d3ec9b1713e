"""After a restart the dialogs are there: re-INVITE, UPDATE, BYE, over UDP and new connections; tags and CSeqs."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

from sip.message.message import Request
from sip.sdp.description import SessionDescription
from tests.daemon.api import running
from tests.daemon.coded_calls import verified
from tests.daemon.kills import kill_and_start
from tests.daemon.sbc import Sbc
from tests.in_process.offers import sdp

TRANSPORTS = ("udp", "tcp", "tls")


def damaged(one: Sbc) -> Request:
    """Send metadata that cannot be read; returns the request with which the recorder asks for them anew."""
    assert one.ask("UPDATE", b"no document", kind="application/rs-metadata+xml").status == 200
    return one.asked("UPDATE")


def origin(body: bytes) -> tuple[str, int]:
    """The number and the version of an SDP session (RFC 4566 section 5.2)."""
    _, name, version, *_ = body.partition(b"o=")[2].split(b" ")
    return name.decode(), int(version)


def tag(value: str | None) -> str:
    found = re.search(";tag=([^;]+)", value or "")
    assert found
    return found[1]


def ports(body: bytes) -> list[int]:
    return [line.port for line in SessionDescription.parse(body).media]


def test_dialogs_go_on_over_every_transport(tmp_path: Path) -> None:
    with running(tmp_path, calls=8, kept=True, srtp="required") as it, ExitStack() as opened:
        begun = []
        for transport in TRANSPORTS:
            one = opened.enter_context(it.one.sbc(transport, transport))
            invited = one.ask("INVITE", sdp("sendonly", "sendonly"))
            assert invited.status == 200
            begun.append((one, invited, damaged(one)))
        kill_and_start(it.one)
        for one, invited, before in begun:
            one.connect()
            again = one.ask("INVITE", sdp("sendonly", "inactive", version=2))
            assert again.status == 200
            assert tag(again.headers.get("To")) == tag(invited.headers.get("To"))
            assert ports(again.body) == ports(invited.body)
            (name, version), (same, higher) = (origin(answer.body) for answer in (invited, again))
            assert same == name and higher > version
            asked = damaged(one)
            assert asked.cseq.number == before.cseq.number + 1
            assert tag(asked.headers.get("From")) == tag(before.headers.get("From")) == tag(invited.headers.get("To"))
            assert [one.ask(method).status for method in ("UPDATE", "BYE", "BYE")] == [200, 200, 481]
        ended = {(call["session_id"], call["state"], call["end_reason"]) for call in it.ended(len(TRANSPORTS))}
        assert ended == {(name, "complete", "bye") for name in TRANSPORTS}
        assert it.one.stop() == 0
        assert verified(it.one) == []
