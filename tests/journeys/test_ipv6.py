"""Calls over IPv6: signalling and media of either IP version, refused clearly where there is no address of ours."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from recorder.simulate.plan import Plan
from sip.message.message import Response, parse
from sip.sdp.description import SessionDescription
from tests.daemon.coded_calls import Watched, missing, place
from tests.daemon.server import Server, server


def open_to_both(one: Server, bind: str) -> None:
    """Let a server listen on both loopback addresses."""
    text = one.config.read_text()
    listen = f'"udp:[::1]:{one.udp}", "tcp:[::1]:{one.udp}", "tls:[::1]:{one.tls}", "udp:'
    text = text.replace('listen = ["udp:', f"listen = [{listen}", 1)
    text = text.replace('bind = "127.0.0.1"', f'bind = "{bind}"')
    text = text.replace('sources = ["127.0.0.0/8"]', 'sources = ["127.0.0.0/8", "::1"]')
    one.config.write_text(text)


@pytest.fixture
def has_six() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.fail("this machine has no IPv6 loopback address, which these tests need")


def test_calls_of_both_ip_versions_are_recorded_completely_s32(tmp_path: Path, has_six: None) -> None:
    with server(tmp_path) as one:
        open_to_both(one, "::")
        token = one.init()
        one.start()
        it = Watched(one, token)
        plans = [
            Plan(to=f"sip:rec@[::1]:{one.udp};transport=udp", calls=1, seconds=2, hold=0.4),
            Plan(to=f"sip:rec@[::1]:{one.tls};transport=tls", calls=1, seconds=2, insecure=True, rtcp_mux=True),
            Plan(to=f"sip:rec@127.0.0.1:{one.udp};transport=udp", calls=1, seconds=2),
            Plan(to=f"sip:rec@127.0.0.1:{one.udp};transport=udp", calls=1, seconds=2, srtp="dtls"),
            Plan(to=f"sip:rec@[::1]:{one.udp};transport=tcp", calls=1, seconds=2, srtp="dtls"),
        ]
        calls = place(plans)
        assert [(call.status, call.faults) for call in calls] == [(200, [])] * len(plans)
        recorded = it.over(calls)
        for call in calls:
            found = it.channels(recorded[call.session_id]["id"])
            assert [missing(stream, found[n]) for n, stream in enumerate(call.streams)] == [(), ()]
        assert {recorded[call.session_id]["source"] for call in calls} == {"::1", "127.0.0.1"}


def ask(port: int, host: str, offer: bytes) -> Response:
    """Send an INVITE and return its final answer."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sbc:
        sbc.settimeout(30)
        sbc.bind((host, 0))
        own = sbc.getsockname()[1]
        where = f"[{host}]" if ":" in host else host
        head = (
            f"INVITE sip:rec@{where} SIP/2.0\r\nVia: SIP/2.0/UDP {where}:{own};branch=z9hG4bKx{own};rport\r\n"
            f"From: <sip:sbc@{where}>;tag=a\r\nTo: <sip:rec@{where}>\r\nCall-ID: {own}@six\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:sbc@{where}:{own}>;+sip.src\r\nRequire: siprec\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(offer)}\r\n\r\n"
        )
        sbc.sendto(head.encode() + offer, (host, port))
        while True:
            answer = parse(sbc.recv(65_536))
            if isinstance(answer, Response) and answer.status >= 200:
                return answer


def offered(kind: str, address: str) -> bytes:
    return (
        f"v=0\r\no=- 1 1 IN {kind} {address}\r\ns=-\r\nc=IN {kind} {address}\r\nt=0 0\r\n"
        "m=audio 40000 RTP/AVP 8\r\na=label:1\r\n"
    ).encode()


def test_the_answer_has_the_ip_version_of_the_offer_s32(tmp_path: Path, has_six: None) -> None:
    with server(tmp_path) as one:
        open_to_both(one, "::")
        token = one.init()
        one.start()
        crossed = ask(one.udp, "::1", offered("IP4", "127.0.0.1"))
        answer = SessionDescription.parse(crossed.body)
        assert crossed.status == 200
        assert answer.media[0].connection is not None
        assert answer.media[0].connection.kind == "IP4"
        one.stop()
        one.config.write_text(one.config.read_text().replace('bind = "::"', 'bind = "127.0.0.1"'))
        one.start()
        refused = ask(one.udp, "::1", offered("IP6", "::1"))
        assert refused.status == 488
        assert (refused.headers.get("Warning") or "").startswith("301 ")
        items: list[dict[str, Any]] = Watched(one, token).ask("/incidents").json()["items"]
        refusals = [(item["reason"], item["status"]) for item in items if item["kind"] == "call-refused"]
        assert refusals == [("address", 488)]
        assert ask(one.udp, "::1", offered("IP4", "127.0.0.1")).status == 200
