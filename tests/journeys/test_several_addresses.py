"""A recorder that listens on all addresses of its machine hears a client to the end at the one that it was told."""

from __future__ import annotations

import socket
from pathlib import Path

from recorder.simulate.plan import Plan
from tests.daemon.coded_calls import Watched, missing, place
from tests.daemon.server import Server, server

SECOND = "127.0.0.5"
"""Packets of ours to a client on 127.0.0.1 leave from 127.0.0.1: by the routes this is never the address."""


def open_to_all(one: Server) -> None:
    """Listen for signalling and media on every address, as the example configuration does."""
    text = one.config.read_text()
    for transport in ("udp", "tcp", "tls"):
        text = text.replace(f'"{transport}:127.0.0.1:', f'"{transport}:0.0.0.0:')
    one.config.write_text(text.replace('bind = "127.0.0.1"', 'bind = "0.0.0.0"'))


def test_calls_to_a_second_address_are_recorded_completely(tmp_path: Path) -> None:
    with server(tmp_path, srtp="preferred") as one:
        open_to_all(one)
        token = one.init()
        one.start()
        it = Watched(one, token)
        plans = [
            Plan(to=f"sip:rec@{SECOND}:{one.udp};transport=udp", calls=1, seconds=3),
            Plan(to=f"sip:rec@{SECOND}:{one.udp};transport=tcp", calls=1, seconds=3, hold=0.4),
            Plan(to=f"sip:rec@{SECOND}:{one.tls};transport=tls", calls=1, seconds=3, insecure=True, rtcp_mux=True),
            Plan(to=f"sip:rec@{SECOND}:{one.udp};transport=tcp", calls=1, seconds=3, srtp="dtls"),
        ]
        calls = place(plans)
        assert [(call.status, call.faults) for call in calls] == [(200, [])] * len(plans)
        recorded = it.over(calls)
        for call in calls:
            found = it.channels(recorded[call.session_id]["id"])
            assert [missing(stream, found[n]) for n, stream in enumerate(call.streams)] == [(), ()]


def test_a_datagram_is_answered_from_its_destination_s21(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        open_to_all(one)
        one.init()
        one.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sbc:
            sbc.settimeout(30)
            sbc.bind(("127.0.0.1", 0))
            sbc.connect((SECOND, one.udp))  # hears nobody else, as what stands behind a NAT
            own = sbc.getsockname()[1]
            sbc.send(
                f"OPTIONS sip:rec@{SECOND} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKx;rport\r\n"
                f"From: <sip:sbc@127.0.0.1>;tag=a\r\nTo: <sip:rec@{SECOND}>\r\nCall-ID: {own}@sbc\r\n"
                "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode()
            )
            assert sbc.recv(65_536).startswith(b"SIP/2.0 200 ")
