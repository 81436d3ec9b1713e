"""A call with DTLS-SRTP through the whole daemon: answer, handshake, audio, kills of worker and main, recording."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from recorder.simulate.plan import Plan
from sip.message.header_values import CSeq
from sip.message.message import Request, Response, parse
from sip.sdp.description import SessionDescription
from tests.daemon.coded_calls import Watched, missing, place
from tests.daemon.flood import Datagram, flood
from tests.daemon.server import server
from tests.in_process.dtls_peer import Peer, offer
from tests.in_process.recorder_node import sip_request
from tests.journeys.test_kill import kill_main, worker_of


class Sbc:
    """Just enough of an SBC's signalling, over UDP."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(30)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.connect(("127.0.0.1", port))
        self.tag = ""

    def ask(self, method: str, cseq: int, body: bytes = b"") -> Response:
        """Send a request and return its final answer; what is still said of one before, again, is passed over."""
        own = str(self.socket.getsockname()[1]).encode()
        request = sip_request(method, "dtls-call", cseq, body, self.tag).replace(b":5070", b":" + own)
        self.socket.send(request)
        while method != "ACK":
            answer = parse(self.socket.recv(65536))
            if isinstance(answer, Response) and answer.status >= 200 and answer.cseq == CSeq(cseq, method):
                self.tag = ";" + (answer.headers.get("To") or "").partition(";")[2]
                return answer
        return Response(200, "OK")


def test_simulated_dtls_calls_are_recorded_completely_d1_d5(tmp_path: Path) -> None:
    with server(tmp_path, srtp="required") as one:
        token = one.init()
        one.start()
        it = Watched(one, token)
        to = f"sip:rec@127.0.0.1:{one.tls};transport=tls"
        plans = [
            Plan(to=to, calls=3, seconds=2, hold=0.4, srtp="dtls", insecure=True, rtcp_mux=mux) for mux in (True, False)
        ]
        calls = place(plans)
        assert [(call.status, call.faults) for call in calls] == [(200, [])] * 6
        recorded = it.over(calls)
        for call in calls:
            listed = recorded[call.session_id]
            assert [stream["srtp"] for stream in listed["streams"]] == ["DTLS-SRTP"] * 2
            found = it.channels(listed["id"])
            assert [missing(stream, found[n]) for n, stream in enumerate(call.streams)] == [(), ()]


def in_the_clients_name(number: int) -> bytes:
    """Make what the client might say in a handshake: answers, greetings, alerts."""
    kind, body = ((22, b"\2\0\0\x26" + bytes(40)), (22, b"\1" + bytes(60)), (21, b"\2\x28"), (22, b"\3" + bytes(30)))[
        number % 4
    ]
    return bytes((kind, 0xFE, 0xFD)) + bytes(2) + (number % 5).to_bytes(6) + len(body).to_bytes(2) + body


def test_packets_from_a_spoofed_address_break_no_handshake(tmp_path: Path) -> None:
    """They do not know its ports."""
    with server(tmp_path, srtp="required", ports=32) as one:
        token = one.init()
        one.start()
        it = Watched(one, token)
        doors = range(one.media, one.media + one.ports)
        sent = [
            Datagram(("127.0.0.1", 0), ("127.0.0.1", port), in_the_clients_name(n)) for n in range(40) for port in doors
        ]
        to = f"sip:rec@127.0.0.1:{one.tls};transport=tls"
        with flood(tmp_path / "flood", sent, 3200, 60) as running:
            calls = place([Plan(to=to, calls=4, seconds=2, srtp="dtls", insecure=True)])
            assert not running.over()
        assert [(call.status, call.faults) for call in calls] == [(200, [])] * 4
        recorded = it.over(calls)
        for call in calls:
            found = it.channels(recorded[call.session_id]["id"])
            assert [missing(stream, found[n]) for n, stream in enumerate(call.streams)] == [(), ()]


async def talk(peers: list[Peer], ports: list[int], frames: int) -> None:
    for _ in range(frames):
        for peer, port in zip(peers, ports, strict=True):
            peer.send(port)
        await asyncio.sleep(0.02)


def test_a_dtls_call_survives_kills_without_another_handshake(tmp_path: Path) -> None:
    """Duties D1, D2, D4, D6."""

    async def story() -> None:
        with server(tmp_path, srtp="required") as one:
            token = one.init()
            one.start()
            it, sbc = Watched(one, token), Sbc(one.udp)
            peers = [Peer(1), Peer(2, server=False)]
            invited = sbc.ask("INVITE", 1, offer(*peers))
            assert invited.status == 200
            answered = SessionDescription.parse(invited.body)
            ports = [media.port for media in answered.media]
            assert [media.setup for media in answered.media] == ["active", "passive"]
            assert [media.profile for media in answered.media] == ["UDP/TLS/RTP/SAVPF"] * 2
            sbc.ask("ACK", 1)
            peers[1].begin(ports[1])
            async with asyncio.timeout(30):
                for peer in peers:
                    await peer.ready.wait()
            # the SBC sees the certificate that the answer named
            certificate = peers[0].connection.get_peer_certificate(as_cryptography=True)
            assert certificate is not None
            shown = answered.media[0].fingerprints[0].split()[1].replace(":", "").lower()
            from cryptography.hazmat.primitives.hashes import SHA256

            assert certificate.fingerprint(SHA256()).hex() == shown
            await talk(peers, ports, 60)
            flights = [peer.flights for peer in peers]  # with whatever a slow machine made somebody repeat
            os.kill(worker_of(it), signal.SIGKILL)
            await talk(peers, ports, 60)
            await kill_main(it)
            await asyncio.to_thread(one.start)
            await talk(peers, ports, 60)
            again = sbc.ask("INVITE", 2, offer(*peers, version=2))
            sbc.ask("ACK", 2)
            assert SessionDescription.parse(again.body).media[0].fingerprints == answered.media[0].fingerprints
            await talk(peers, ports, 30)
            assert [peer.flights for peer in peers] == flights
            assert (await asyncio.to_thread(sbc.ask, "BYE", 3)).status == 200
            sbc.socket.close()
            for peer in peers:
                peer.close()
                peer.socket.close()
            await it.until(lambda: {call["state"] for call in it.calls()} - {"recording"})
            (call,) = it.calls()
            assert [stream["srtp"] for stream in call["streams"]] == ["DTLS-SRTP"] * 2
            assert [stream["rejected"] for stream in call["streams"]] == [0, 0]
            assert [stream["packets"] + stream["lost"] for stream in call["streams"]] == [210, 210]
            assert all(stream["packets"] >= 200 for stream in call["streams"])
            log = one.log.read_text()
            assert "Traceback" not in log and not re.search("PRIVATE", log)

    asyncio.run(asyncio.wait_for(story(), 100))


def agree(request: Request, body: bytes) -> bytes:
    """Answer a request of the recorder with 200 and an SDP."""
    names = ("Via", "From", "To", "Call-ID", "CSeq")
    head = [f"{name}: {request.headers.get(name)}" for name in names]
    lines = ["SIP/2.0 200 OK", *head, "Contact: <sip:sbc@127.0.0.1>", "Content-Type: application/sdp"]
    return ("\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n").encode() + body


@pytest.mark.parametrize(("serves", "all_die"), [(False, False), (True, False), (False, True)])
def test_a_handshake_cut_short_by_a_kill_is_asked_for_again(tmp_path: Path, serves: bool, all_die: bool) -> None:
    """Duties D1, D6: the worker dies while the client waits for what only that one could say."""

    async def story() -> None:
        with server(tmp_path, srtp="required", more="pause_by_reinvite = true") as one:
            token = one.init()
            one.start()
            it, sbc, peer = Watched(one, token), Sbc(one.udp), Peer(1, server=serves, hears=0 if serves else 1)
            invited = sbc.ask("INVITE", 1, offer(peer))
            sbc.ask("ACK", 1)
            (line,) = SessionDescription.parse(invited.body).media
            if not serves:
                peer.begin(line.port)
            async with asyncio.timeout(30):
                while not peer.asked:
                    await asyncio.sleep(0.01)
            peer.close()
            os.kill(worker_of(it), signal.SIGKILL)
            if all_die:
                await kill_main(it)
                await asyncio.to_thread(one.start)
            while isinstance(asked := parse(await asyncio.to_thread(sbc.socket.recv, 65536)), Response):
                sbc.ask("ACK", 1)  # a 200 that is said again by who does not know of the first one
            assert asked.method == "INVITE"
            (wanted,) = SessionDescription.parse(asked.body).media
            assert (wanted.port, wanted.setup) == (line.port, "actpass")
            assert wanted.fingerprints != line.fingerprints
            peer.renew()
            peer.listen()
            role = b"a=setup:passive" if serves else b"a=setup:active"
            agreed = re.sub(b"a=setup:[a-z]+", role, offer(peer, version=2))
            sbc.socket.send(agree(asked, agreed))
            if not serves:
                peer.begin(line.port)
            async with asyncio.timeout(30):
                await peer.ready.wait()
            assert peer.shown == wanted.fingerprints[0]
            await talk([peer], [line.port], 60)
            again = sbc.ask("INVITE", 2, offer(peer, version=3))
            sbc.ask("ACK", 2)
            assert SessionDescription.parse(again.body).media[0].fingerprints == wanted.fingerprints
            await talk([peer], [line.port], 30)
            assert (await asyncio.to_thread(sbc.ask, "BYE", 3)).status == 200
            sbc.socket.close()
            peer.close()
            peer.socket.close()
            await it.until(lambda: {call["state"] for call in it.calls()} - {"recording"})
            (call,) = it.calls()
            assert [(s["packets"], s["lost"], s["rejected"]) for s in call["streams"]] == [(90, 0, 0)]
            assert "Traceback" not in one.log.read_text()

    asyncio.run(asyncio.wait_for(story(), 100))


def test_a_customer_that_switched_it_off_refuses_with_488(tmp_path: Path) -> None:
    async def story() -> None:
        with server(tmp_path, srtp="required") as one:
            one.init()
            one.config.write_text(one.config.read_text().replace("[[customer]]", "[[customer]]\ndtls = false"))
            one.start()
            sbc, peer = Sbc(one.udp), Peer(1)
            assert sbc.ask("INVITE", 1, offer(peer)).status == 488
            sbc.socket.close()
            peer.close()
            peer.socket.close()

    asyncio.run(asyncio.wait_for(story(), 100))
