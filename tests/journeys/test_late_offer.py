"""INVITEs without SDP through the whole daemon: our offer, the answer in the ACK, holds the same way, the recording."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

from media.rtp import header
from sip.sdp.description import MediaLine, SessionDescription
from tests.daemon.coded_calls import Watched
from tests.daemon.server import Server, server
from tests.in_process.dtls_peer import Peer, offer
from tests.journeys.test_dtls import Sbc, talk

WAYS = {
    "plain": 'siprec = "plain"\nlate_offer = true\nsrtp = "off"\n',
    "handshake": "late_offer = true\nsdes_without_tls = false\n",
}


def begun(one: Server, way: str) -> tuple[Watched, Sbc]:
    one.config.write_text(one.config.read_text() + WAYS[way])
    token = one.init()
    one.start()
    return Watched(one, token), Sbc(one.udp)


def answer(port: int, direction: str, version: int) -> bytes:
    return (
        f"v=0\r\no=- 7 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8\r\na={direction}\r\n"
    ).encode()


def ours(one: Server, sbc: Sbc, cseq: int) -> MediaLine:
    """Ask for an offer and give its only line; a refusal is shown with what the daemon says of it."""
    said = sbc.ask("INVITE", cseq)
    assert said.status == 200, (said.status, said.reason, one.log.read_text()[-2000:])
    (line,) = SessionDescription.parse(said.body).media
    return line


async def only_call(it: Watched) -> dict[str, Any]:
    await it.until(lambda: [call["state"] for call in it.calls()] == ["complete"])
    (call,) = it.calls()
    return call


def test_a_late_offer_is_recorded_held_and_resumed_o6_s34(tmp_path: Path) -> None:
    with server(tmp_path) as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        it, sbc = begun(one, "plain")
        phone.bind(("127.0.0.1", 0))
        own = phone.getsockname()[1]

        def say(port: int, first: int, count: int) -> None:
            for n in range(first, first + count):
                phone.sendto(header.build(8, n, n * 160, 7, bytes([n]) * 160), ("127.0.0.1", port))

        line = ours(one, sbc, 1)
        assert (line.kind, line.profile, line.direction) == ("audio", "RTP/AVP", "recvonly")
        sbc.ask("ACK", 1, answer(own, "sendonly", 1))
        say(line.port, 1, 20)
        directions = []
        for cseq, direction in ((2, "inactive"), (3, "sendonly")):
            line = ours(one, sbc, cseq)
            directions.append(line.direction)
            sbc.ask("ACK", cseq, answer(own, direction, cseq))
        assert directions == ["recvonly", "recvonly"]
        say(line.port, 21, 20)
        asyncio.run(it.until(lambda: it.figure('recorder_rtp_packets_total{result="stored"}') >= 40))
        assert sbc.ask("BYE", 4).status == 200
        sbc.socket.close()
        call = asyncio.run(only_call(it))
        (stream,) = call["streams"]
        assert (call["state"], stream["packets"], stream["lost"], stream["srtp"]) == ("complete", 40, 0, None)
        assert len(stream["pauses"]) == 1


def test_a_late_offer_with_required_srtp_asks_for_dtls_o6_d1(tmp_path: Path) -> None:
    async def story() -> None:
        with server(tmp_path, srtp="required") as one:
            it, sbc = await asyncio.to_thread(begun, one, "handshake")
            peer = Peer(1, server=False)
            line = ours(one, sbc, 1)
            assert (line.profile, line.setup, line.all_attributes("crypto")) == ("UDP/TLS/RTP/SAVP", "actpass", [])
            sbc.ask("ACK", 1, offer(peer).replace(b"SAVPF", b"SAVP").replace(b"a=rtcp-mux\r\n", b""))
            peer.begin(line.port)
            async with asyncio.timeout(30):
                await peer.ready.wait()
            await talk([peer], [line.port], 40)
            assert (await asyncio.to_thread(sbc.ask, "BYE", 2)).status == 200
            sbc.socket.close()
            peer.close()
            peer.socket.close()
            (stream,) = (await only_call(it))["streams"]
            assert (stream["srtp"], stream["packets"], stream["rejected"]) == ("DTLS-SRTP", 40, 0)

    asyncio.run(story())
