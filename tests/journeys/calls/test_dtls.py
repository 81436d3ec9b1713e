"""Calls with DTLS-SRTP through the whole daemon: answer, handshake, audio, kills of worker and main, recording."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256

from recorder.simulate.plan import Plan
from sip.sdp.description import SessionDescription
from tests.daemon.api import Api, running
from tests.daemon.coded_calls import nothing_missing, place
from tests.daemon.kills import kill_main, worker_of
from tests.daemon.sbc import Sbc
from tests.in_process.dtls_peer import Peer, offer, talk


def test_simulated_dtls_calls_are_recorded_completely_d1_d5(tmp_path: Path) -> None:
    with running(tmp_path, srtp="required") as it:
        calls = place(
            [
                Plan(to=it.one.uri("tls"), calls=2, seconds=2, hold=0.4, srtp="dtls", insecure=True, rtcp_mux=mux)
                for mux in (True, False)
            ]
        )
        nothing_missing(it, calls)
        listed = [stream["srtp"] for call in it.calls() for stream in call["streams"]]
        assert listed == ["DTLS-SRTP"] * 8


@asynccontextmanager
async def calling(it: Api, *peers: Peer) -> AsyncIterator[Sbc]:
    """Have an SBC with such peers, and everything closed in the end."""
    with it.one.sbc("udp", "dtls-call") as sbc:
        try:
            yield sbc
        finally:
            for peer in peers:
                peer.close()
                peer.socket.close()


async def ready(*peers: Peer) -> None:
    async with asyncio.timeout(30):
        for peer in peers:
            await peer.ready.wait()


async def recorded(it: Api, sbc: Sbc) -> list[dict[str, Any]]:
    """Hang up and return the streams of the call."""
    assert (await asyncio.to_thread(sbc.ask, "BYE")).status == 200
    (call,) = await asyncio.to_thread(it.ended)
    log = it.one.log.read_text()
    assert "Traceback" not in log and "PRIVATE" not in log
    return list(call["streams"])


def test_a_dtls_call_survives_kills_without_another_handshake(tmp_path: Path) -> None:
    """Duties D1, D2, D4, D6."""

    async def story() -> None:
        peers = [Peer(1), Peer(2, server=False)]
        async with calling(it, *peers) as sbc:
            invited = sbc.ask("INVITE", offer(*peers))
            assert invited.status == 200
            answered = SessionDescription.parse(invited.body).media
            ports = [media.port for media in answered]
            assert [(media.setup, media.profile) for media in answered] == [
                (setup, "UDP/TLS/RTP/SAVPF") for setup in ("active", "passive")
            ]
            peers[1].begin(ports[1])
            await ready(*peers)
            # the SBC sees the certificate that the answer named
            certificate: Any = peers[0].connection.get_peer_certificate(as_cryptography=True)
            shown = answered[0].fingerprints[0].split()[1].replace(":", "").lower()
            assert certificate.fingerprint(SHA256()).hex() == shown
            await talk(peers, ports, 60)
            flights = [peer.flights for peer in peers]  # with whatever a slow machine made somebody repeat
            os.kill(worker_of(it), signal.SIGKILL)
            await talk(peers, ports, 60)
            await kill_main(it)
            await asyncio.to_thread(it.one.start)
            await talk(peers, ports, 60)
            again = sbc.ask("INVITE", offer(*peers, version=2))
            assert SessionDescription.parse(again.body).media[0].fingerprints == answered[0].fingerprints
            await talk(peers, ports, 30)
            assert [peer.flights for peer in peers] == flights
            streams = await recorded(it, sbc)
        assert [(stream["srtp"], stream["rejected"]) for stream in streams] == [("DTLS-SRTP", 0)] * 2
        assert [stream["packets"] + stream["lost"] for stream in streams] == [210, 210]
        assert all(stream["packets"] >= 200 for stream in streams)

    with running(tmp_path, srtp="required") as it:
        asyncio.run(asyncio.wait_for(story(), 100))


def test_a_handshake_cut_short_by_a_kill_is_asked_for_again(tmp_path: Path) -> None:
    """Duties D1, D6: worker and main die while the client waits for what only that worker could say."""

    async def story() -> None:
        peer = Peer(1, server=False, hears=1)
        async with calling(it, peer) as sbc:
            (line,) = SessionDescription.parse(sbc.ask("INVITE", offer(peer)).body).media
            peer.begin(line.port)
            async with asyncio.timeout(30):
                while not peer.asked:
                    await asyncio.sleep(0.01)
            peer.close()
            os.kill(worker_of(it), signal.SIGKILL)
            await kill_main(it)
            await asyncio.to_thread(it.one.start)
            asked = await asyncio.to_thread(sbc.asked, "INVITE", status=0)
            (wanted,) = SessionDescription.parse(asked.body).media
            assert (wanted.port, wanted.setup) == (line.port, "actpass")
            assert wanted.fingerprints != line.fingerprints
            peer.renew()
            peer.listen()
            sbc.agreed = re.sub(b"a=setup:[a-z]+", b"a=setup:active", offer(peer, version=2))
            sbc.reply(asked, 200)
            sbc.agreed = b""
            peer.begin(line.port)
            await ready(peer)
            assert peer.shown == wanted.fingerprints[0]
            await talk([peer], [line.port], 60)
            again = sbc.ask("INVITE", offer(peer, version=3))
            assert SessionDescription.parse(again.body).media[0].fingerprints == wanted.fingerprints
            await talk([peer], [line.port], 30)
            streams = await recorded(it, sbc)
        assert [(s["packets"], s["lost"], s["rejected"]) for s in streams] == [(90, 0, 0)]

    with running(tmp_path, srtp="required", more="pause_by_reinvite = true") as it:
        asyncio.run(asyncio.wait_for(story(), 100))
