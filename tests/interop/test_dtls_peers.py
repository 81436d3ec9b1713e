"""DTLS-SRTP of foreign programs with a running daemon: aiortc's transport and `openssl s_client` at its media ports."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from media.rtp import header
from media.srtp.dtls import Identity
from sip.sdp.description import SessionDescription
from tests.daemon.api import Api, running
from tests.daemon.sbc import Sbc
from tests.daemon.server import free_port

pytestmark = pytest.mark.interop
FRAMES = 50


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 110))


def offer(port: int, setup: str, fingerprint: str) -> bytes:
    return (
        "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} UDP/TLS/RTP/SAVPF 8\r\na=label:1\r\na=sendonly\r\na=rtcp-mux\r\n"
        f"a=setup:{setup}\r\na=fingerprint:{fingerprint}\r\n"
    ).encode()


async def recorded(it: Api, sbc: Sbc) -> dict[str, Any]:
    """Hang up and return the only stream."""
    await it.until(lambda: it.figure('recorder_rtp_packets_total{result="stored"}') >= FRAMES)
    return ended(it, sbc)


def ended(it: Api, sbc: Sbc) -> dict[str, Any]:
    assert sbc.ask("BYE").status == 200
    sbc.close()
    (call,) = it.ended()
    (stream,) = call["streams"]
    return dict(stream)


class Ice:
    """What aiortc's transport wants below it: here a UDP socket and no ICE."""

    state = "completed"

    def __init__(self, role: str) -> None:
        self.role = role
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.target = ("127.0.0.1", 0)

    async def _recv(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.socket, 4096)

    async def _send(self, data: bytes) -> None:
        self.socket.sendto(data, self.target)

    async def stop(self) -> None:
        self.socket.close()


@pytest.mark.parametrize("setup", ["actpass", "active"])
def test_audio_of_aiortcs_transport_is_recorded_d1_d3_d7(tmp_path: Path, setup: str) -> None:
    import aiortc  # only here: it loads FFmpeg

    async def story() -> None:
        with running(tmp_path, srtp="required") as it:
            ice: Any = Ice("controlling" if setup == "actpass" else "controlled")
            transport = aiortc.RTCDtlsTransport(ice, [aiortc.RTCCertificate.generateCertificate()])
            shown = next(f for f in transport.getLocalParameters().fingerprints if f.algorithm == "sha-256")
            sbc = it.one.sbc()
            invited = sbc.ask("INVITE", offer(ice.socket.getsockname()[1], setup, f"sha-256 {shown.value}"))
            (line,) = SessionDescription.parse(invited.body).media
            ice.target = ("127.0.0.1", line.port)
            algorithm, _, value = line.fingerprints[0].partition(" ")
            parameters = aiortc.RTCDtlsParameters(fingerprints=[aiortc.RTCDtlsFingerprint(algorithm, value)])
            await transport.start(parameters)
            assert transport.state == "connected"
            for n in range(FRAMES):
                await transport._send_rtp(header.build(8, n, n * 160, 7, bytes(160)))
                await asyncio.sleep(0.01)
            stream = await recorded(it, sbc)
            assert (stream["srtp"], stream["packets"], stream["rejected"]) == ("DTLS-SRTP", FRAMES, 0)
            await transport.stop()
            await ice.stop()

    run(story())


PROFILES = {
    "SRTP_AES128_CM_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
    "SRTP_AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
}


async def talk(it: Api, folder: Path, profile: str, named: str = "") -> Sbc:
    """Place a call whose offer names a fingerprint, let s_client shake hands and send frames under its keys."""
    number, key, salt = PROFILES[profile]
    own = Identity.create(datetime.now(UTC))
    (folder / "peer.pem").write_bytes(bytes(own))
    port = free_port()
    sbc = it.one.sbc()
    invited = sbc.ask("INVITE", offer(port, "active", named or own.fingerprint))
    (line,) = SessionDescription.parse(invited.body).media
    material = await asyncio.to_thread(exported, folder / "peer.pem", port, line.port, profile, key + salt)
    ours = material[:key] + material[2 * key : 2 * key + salt]
    session = Session(Policy(key=ours, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=number))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", port))
        for n in range(FRAMES):
            phone.sendto(session.protect(header.build(8, n, n * 160, 7, bytes(160))), ("127.0.0.1", line.port))
            await asyncio.sleep(0.01)
    return sbc


def needs_openssl() -> None:
    if shutil.which("openssl") is None:
        pytest.fail("the program openssl is not installed")


@pytest.mark.parametrize("profile", PROFILES)
def test_audio_under_openssl_client_keys_is_recorded_d3(tmp_path: Path, profile: str) -> None:
    needs_openssl()

    async def story() -> None:
        with running(tmp_path, srtp="required") as it:
            sbc = await talk(it, tmp_path, profile)
            stream = await recorded(it, sbc)
            assert (stream["srtp"], stream["packets"], stream["rejected"]) == ("DTLS-SRTP", FRAMES, 0)

    run(story())


def test_keys_under_an_unoffered_certificate_decrypt_nothing_d3(tmp_path: Path) -> None:
    needs_openssl()

    async def story() -> None:
        with running(tmp_path, srtp="required") as it:
            sbc = await talk(it, tmp_path, "SRTP_AES128_CM_SHA1_80", "sha-256 " + ":".join(["AA"] * 32))
            await asyncio.sleep(1)
            assert ended(it, sbc)["packets"] == 0

    run(story())


def exported(pem: Path, own: int, port: int, profile: str, half: int) -> bytes:
    """Shake hands as the client, from a port of ours, and return the keying material."""
    line = f"openssl s_client -dtls1_2 -connect 127.0.0.1:{port} -bind 127.0.0.1:{own} -use_srtp {profile}"
    line += f" -keymatexport EXTRACTOR-dtls_srtp -keymatexportlen {2 * half} -cert {pem} -key {pem}"
    pipe, seen, end = subprocess.PIPE, b"", time.monotonic() + 60
    with subprocess.Popen(line.split(), stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as client:
        assert client.stdout is not None
        while (found := re.search(rb"Keying material: ([0-9A-F]+)", seen)) is None and time.monotonic() < end:
            read = client.stdout.readline()
            if not read:
                break
            seen += read
        client.kill()
    assert found is not None, seen.decode(errors="replace")[-1500:]
    return bytes.fromhex(found[1].decode())
