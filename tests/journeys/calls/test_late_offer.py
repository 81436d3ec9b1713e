"""INVITEs without SDP through the whole daemon: our offer, the answer in the ACK, holds the same way, the recording."""

from __future__ import annotations

import socket
from pathlib import Path

from media.rtp import header
from sip.sdp.description import MediaLine, SessionDescription
from tests.daemon.api import running, until


def answer(port: int, direction: str, version: int) -> bytes:
    return (
        f"v=0\r\no=- 7 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8\r\na={direction}\r\n"
    ).encode()


def test_a_late_offer_is_recorded_held_and_resumed_o6_s34(tmp_path: Path) -> None:
    more = 'siprec = "plain"\nlate_offer = true\nsrtp = "off"\n'
    with (
        running(tmp_path, more=more) as it,
        it.one.sbc() as sbc,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone,
    ):
        phone.bind(("127.0.0.1", 0))

        def ours(direction: str, version: int) -> MediaLine:
            """Ask for an offer, answer it in the ACK, and give its only line."""
            sbc.agreed = answer(phone.getsockname()[1], direction, version)
            said = sbc.ask("INVITE")
            assert said.status == 200, it.one.log.read_text()[-2000:]
            (line,) = SessionDescription.parse(said.body).media
            return line

        def say(port: int, first: int, count: int) -> None:
            for n in range(first, first + count):
                phone.sendto(header.build(8, n, n * 160, 7, bytes([n]) * 160), ("127.0.0.1", port))

        line = ours("sendonly", 1)
        assert (line.kind, line.profile, line.direction) == ("audio", "RTP/AVP", "recvonly")
        say(line.port, 1, 20)
        assert [ours("inactive", 2).direction, ours("sendonly", 3).direction] == ["recvonly", "recvonly"]
        say(line.port, 21, 20)
        until(lambda: it.figure('recorder_rtp_packets_total{result="stored"}') >= 40)
        assert sbc.ask("BYE").status == 200
        (call,) = it.ended()
        (stream,) = call["streams"]
        assert (call["state"], stream["packets"], stream["lost"], stream["srtp"]) == ("complete", 40, 0, None)
        assert len(stream["pauses"]) == 1
