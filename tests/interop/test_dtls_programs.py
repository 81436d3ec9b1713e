"""DTLS-SRTP of aiortc and of OpenSSL's own program with a running daemon: handshake, audio, recording (D1 to D7)."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from media import rtp
from sip.sdp import SessionDescription
from tests.interop.recorded import calls
from tests.journeys.server import Server, server
from tests.journeys.test_dtls import Sbc
from tests.recorder.dtls_peer import PROFILES, SBC

pytestmark = pytest.mark.interop
HOST = "127.0.0.1"
FRAMES = 50


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("dtls"), srtp="required") as one:
        one.init()
        one.start()
        yield one


def offer(port: int, setup: str, fingerprint: str, feedback: str = "F") -> bytes:
    """Write an offer of one line with DTLS-SRTP."""
    lines = ("v=0", f"o=- 7 1 IN IP4 {HOST}", "s=-", f"c=IN IP4 {HOST}", "t=0 0")
    media = (f"m=audio {port} UDP/TLS/RTP/SAVP{feedback} 8", "a=label:1", "a=sendonly", f"a=setup:{setup}")
    return ("\r\n".join((*lines, *media, f"a=fingerprint:{fingerprint}", "a=rtcp-mux")) + "\r\n").encode()


def frame(number: int) -> bytes:
    """Make one packet of sound."""
    return rtp.build(8, number, 160 * number, 0xABCD, number.to_bytes(4, "big") * 40)


def recorded(daemon: Server, known: set[str]) -> dict[str, Any]:
    """Give the one new call."""
    (call,) = [call for call in calls(daemon, len(known) + 1) if call["id"] not in known]
    return call


class Wire(asyncio.DatagramProtocol):
    """What aiortc's transport wants instead of ICE: a socket."""

    state = "completed"

    def __init__(self, role: str) -> None:
        self.role = role
        self.target: tuple[str, int] | None = None
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.queue.put_nowait(data)

    async def _recv(self) -> bytes:
        return await self.queue.get()

    async def _send(self, data: bytes) -> None:
        self.transport.sendto(data, self.target)

    async def stop(self) -> None:
        self.transport.close()


@pytest.mark.parametrize("setup", ["actpass", "active"])
def test_a_call_of_aiortc_is_recorded_frame_by_frame_d1_d3(daemon: Server, setup: str) -> None:
    aiortc = pytest.importorskip("aiortc")

    async def story() -> None:
        known = {call["id"] for call in calls(daemon, 0)}
        # Of the two, aiortc lets the controlling side of ICE be the server; we shake hands actively where we may.
        wire = Wire("controlling" if setup == "actpass" else "controlled")
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: wire, local_addr=(HOST, 0))
        certificate = aiortc.RTCCertificate.generateCertificate()
        shown = next(f for f in certificate.getFingerprints() if f.algorithm == "sha-256")
        sbc = Sbc(daemon.udp)
        port = wire.transport.get_extra_info("sockname")[1]
        invited = await asyncio.to_thread(sbc.ask, "INVITE", 1, offer(port, setup, f"sha-256 {shown.value}"))
        (line,) = SessionDescription.parse(invited.body).media
        sbc.ask("ACK", 1)
        wire.target = (HOST, line.port)
        transport = aiortc.RTCDtlsTransport(wire, [certificate])
        algorithm, _, value = line.fingerprints[0].partition(" ")
        theirs = aiortc.RTCDtlsFingerprint(algorithm, value)
        assert line.setup == ("active" if setup == "actpass" else "passive")
        await transport.start(aiortc.RTCDtlsParameters(fingerprints=[theirs], role="auto"))
        assert transport.state == "connected"
        await asyncio.sleep(0.3)
        for number in range(FRAMES):
            await transport._send_rtp(frame(number))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.7)
        assert (await asyncio.to_thread(sbc.ask, "BYE", 2)).status == 200
        sbc.socket.close()
        await transport.stop()
        await wire.stop()
        (stream,) = recorded(daemon, known)["streams"]
        assert (stream["srtp"], stream["packets"], stream["rejected"]) == ("DTLS-SRTP", FRAMES, 0)

    asyncio.run(asyncio.wait_for(story(), 40))


async def shake(port: int, target: int, pem: Path, profile: str) -> tuple[str, bytes]:
    """Let `openssl s_client` shake hands from a port; give the profile it names and its keying material."""
    command = f"openssl s_client -dtls1_2 -bind {HOST}:{port} -connect {HOST}:{target} -use_srtp {profile}"
    command += f" -keymatexport EXTRACTOR-dtls_srtp -keymatexportlen {2 * sum(PROFILES[profile.encode()][1:])}"
    command += f" -cert {pem} -key {pem}"
    client = await asyncio.create_subprocess_exec(*command.split(), stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    seen = b""
    try:
        assert client.stdout is not None
        async with asyncio.timeout(10):
            while b"Keying material:" not in seen and (line := await client.stdout.readline()):
                seen += line
    finally:
        client.kill()  # without a farewell: the daemon takes it for silence
        await client.wait()
    negotiated = re.search(rb"SRTP Extension negotiated, profile=(\S+)", seen)
    material = re.search(rb"Keying material: ([0-9A-F]+)", seen)
    assert negotiated is not None and material is not None, seen
    return negotiated[1].decode(), bytes.fromhex(material[1].decode())


async def place_and_talk(daemon: Server, folder: Path, profile: str, fingerprint: str) -> dict[str, Any]:
    """Place a call, let s_client shake hands, send sound under its keys; give what was recorded."""
    known = {call["id"] for call in calls(daemon, 0)}
    with socket.socket(type=socket.SOCK_DGRAM) as mine:
        mine.bind((HOST, 0))
        port = mine.getsockname()[1]
    (folder / "sbc.pem").write_bytes(bytes(SBC))
    sbc = Sbc(daemon.udp)
    invited = await asyncio.to_thread(sbc.ask, "INVITE", 1, offer(port, "active", fingerprint, ""))
    (line,) = SessionDescription.parse(invited.body).media
    sbc.ask("ACK", 1)
    named, material = await shake(port, line.port, folder / "sbc.pem", profile)
    assert named == profile
    number, key, salt = PROFILES[profile.encode()]
    ours = material[:key] + material[2 * key : 2 * key + salt]
    session = Session(Policy(key=ours, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=number))
    with socket.socket(type=socket.SOCK_DGRAM) as mine:
        mine.bind((HOST, port))
        for count in range(FRAMES):
            mine.sendto(session.protect(frame(count)), (HOST, line.port))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.7)
    assert (await asyncio.to_thread(sbc.ask, "BYE", 2)).status == 200
    sbc.socket.close()
    (stream,) = recorded(daemon, known)["streams"]
    found: dict[str, Any] = stream
    return found


with_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed (apt-get install openssl)"
)


@with_openssl
@pytest.mark.parametrize("profile", ["SRTP_AES128_CM_SHA1_80", "SRTP_AEAD_AES_256_GCM"])
def test_openssl_s_client_shakes_hands_with_a_media_port_and_what_its_keys_seal_is_recorded_d3_d5(
    daemon: Server, tmp_path: Path, profile: str
) -> None:
    stream = asyncio.run(asyncio.wait_for(place_and_talk(daemon, tmp_path, profile, SBC.fingerprint), 40))
    assert (stream["srtp"], stream["packets"], stream["rejected"]) == ("DTLS-SRTP", FRAMES, 0)


@with_openssl
def test_keys_agreed_with_another_certificate_than_the_offer_names_open_nothing_d3(
    daemon: Server, tmp_path: Path
) -> None:
    other = "sha-256 " + ":".join(["AA"] * 32)
    stream = asyncio.run(asyncio.wait_for(place_and_talk(daemon, tmp_path, "SRTP_AES128_CM_SHA1_80", other), 40))
    assert stream["packets"] == 0
