"""Calls over IPv6 and to any address of the machine; the answer comes from where the request went to."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from recorder.simulate.plan import Plan
from sip.sdp.description import SessionDescription
from tests.daemon.api import Api, running
from tests.daemon.coded_calls import nothing_missing, place
from tests.daemon.sbc import Sbc, request
from tests.daemon.server import Server

SECOND = "127.0.0.5"
"""Packets of ours to a client on 127.0.0.1 leave from 127.0.0.1: by the routes this is never the address."""


def open_to_both(one: Server) -> None:
    """Let a server listen on both loopback addresses."""
    one.replace(
        'listen = ["udp:', f'listen = ["udp:[::1]:{one.udp}", "tcp:[::1]:{one.udp}", "tls:[::1]:{one.tls}", "udp:'
    )
    one.replace('bind = "127.0.0.1"', 'bind = "::"')
    one.replace('sources = ["127.0.0.0/8"]', 'sources = ["127.0.0.0/8", "::1"]')


def open_to_all(one: Server) -> None:
    """Listen for signalling and media on every address, as the example configuration does."""
    for transport in ("udp", "tcp", "tls"):
        one.replace(f'"{transport}:127.0.0.1:', f'"{transport}:0.0.0.0:')
    one.replace('bind = "127.0.0.1"', 'bind = "0.0.0.0"')


@pytest.fixture
def has_six() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.fail("this machine has no IPv6 loopback address, which these tests need")


def recorded(it: Api, plans: list[Plan]) -> set[str]:
    """Place calls, which are recorded completely; return where they came from."""
    calls = place(plans)
    nothing_missing(it, calls)
    return {call["source"] for call in it.over(calls).values()}


def test_calls_of_both_ip_versions_are_recorded_completely_s32(tmp_path: Path, has_six: None) -> None:
    with running(tmp_path, start=False) as it:
        one = it.one
        open_to_both(one)
        one.start()
        plans = [
            Plan(to=f"sip:rec@[::1]:{one.udp};transport=udp", seconds=2, hold=0.4),
            Plan(to=f"sip:rec@[::1]:{one.tls};transport=tls", seconds=2, insecure=True, rtcp_mux=True),
            Plan(to=one.uri(), seconds=2),
            Plan(to=one.uri(), seconds=2, srtp="dtls"),
            Plan(to=f"sip:rec@[::1]:{one.udp};transport=tcp", seconds=2, srtp="dtls"),
        ]
        assert recorded(it, plans) == {"::1", "127.0.0.1"}


def offered(one: Server, host: str, kind: str, address: str) -> tuple[int, str, bytes]:
    """Offer a call over UDP; return status, warning and body of the answer."""
    offer = (
        f"v=0\r\no=- 1 1 IN {kind} {address}\r\ns=-\r\nc=IN {kind} {address}\r\nt=0 0\r\n"
        "m=audio 40000 RTP/AVP 8\r\na=label:1\r\n"
    )
    with Sbc("udp", host, one.udp) as sbc:
        answer = sbc.ask("INVITE", offer.encode())
    return answer.status, answer.headers.get("Warning") or "", answer.body


def test_the_answer_has_the_ip_version_of_the_offer_s32(tmp_path: Path, has_six: None) -> None:
    with running(tmp_path, start=False) as it:
        one = it.one
        open_to_both(one)
        one.start()
        status, _, body = offered(one, "::1", "IP4", "127.0.0.1")
        assert (status, SessionDescription.parse(body).media[0].connection.kind) == (200, "IP4")
        one.stop()
        one.replace('bind = "::"', 'bind = "127.0.0.1"')
        one.start()
        status, warning, _ = offered(one, "::1", "IP6", "::1")
        assert (status, warning[:4]) == (488, "301 ")
        items = it.get("/incidents").json()["items"]
        assert [(i["reason"], i["status"]) for i in items if i["kind"] == "call-refused"] == [("address", 488)]
        assert offered(one, "::1", "IP4", "127.0.0.1")[0] == 200


def test_calls_to_a_second_address_are_answered_by_it_s21(tmp_path: Path) -> None:
    with running(tmp_path, start=False) as it:
        one = it.one
        open_to_all(one)
        one.start()
        plans = [
            Plan(to=f"sip:rec@{SECOND}:{one.udp};transport=udp", seconds=2),
            Plan(to=f"sip:rec@{SECOND}:{one.udp};transport=tcp", seconds=2, hold=0.4),
            Plan(to=f"sip:rec@{SECOND}:{one.tls};transport=tls", seconds=2, insecure=True, rtcp_mux=True),
            Plan(to=f"sip:rec@{SECOND}:{one.udp};transport=tcp", seconds=2, srtp="dtls"),
        ]
        assert recorded(it, plans) == {"127.0.0.1"}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sbc:
            sbc.settimeout(30)
            sbc.bind(("127.0.0.1", 0))
            sbc.connect((SECOND, one.udp))  # hears nobody else, as what stands behind a NAT
            sbc.send(request("OPTIONS", f"127.0.0.1:{sbc.getsockname()[1]}", "behind-a-nat"))
            assert sbc.recv(65_536).startswith(b"SIP/2.0 200 ")
