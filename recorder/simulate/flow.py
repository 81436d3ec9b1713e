"""Datagrams between one of our ports and one of the recorder's, and their protection.

Keys come from SDES (RFC 4568), or from a handshake of aiortc's on these two ports (RFC 5763, RFC 5764).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from asyncio_dgram.aio import DatagramStream
from pylibsrtp import Policy, Session

from recorder.simulate.link import deliver

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
HANDSHAKE_SECONDS = 10.0
"""Time for a handshake: OpenSSL sends its first flight again after 1, 3 and 7 seconds."""
_DTLS_BYTES = range(20, 64)
"""First byte of a DTLS record (RFC 7983 section 7)."""

Name = tuple[str, int]
"""Numeric address and port."""


class Flow:
    """One pair of ports; its methods `_send` and `_recv` are what aiortc's DTLS asks of a transport."""

    role = "controlled"

    def __init__(self, stream: DatagramStream, name: Name) -> None:
        self.name, self._stream = name, stream
        self.outbound: Session | None = None
        """Protects what we send, None for plain packets."""
        self._inbound: Session | None = None
        self._records: asyncio.Queue[bytes] = asyncio.Queue()
        self._dtls: RTCDtlsTransport | None = None
        self._open = True

    def key(self, suite: str, ours: bytes, theirs: bytes) -> None:
        """Take the keys of SDES; without `theirs` what the recorder sends stays unreadable."""
        profile = PROFILES[suite]
        self.outbound = Session(Policy(key=ours, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        if theirs:
            self._inbound = Session(Policy(key=theirs, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))

    async def agree(self, own: RTCCertificate, fingerprints: Sequence[str], *, active: bool) -> str | None:
        """Make the keys by a handshake; return why there are none."""
        made = self._dtls = RTCDtlsTransport(self, [own])  # type: ignore[arg-type]  # all that it asks of one for ICE
        made._set_role("client" if active else "server")
        named = [RTCDtlsFingerprint(*value.split()) for value in fingerprints if len(value.split()) == 2]
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await made.start(RTCDtlsParameters(named or [RTCDtlsFingerprint("none", "")]))
        except TimeoutError:
            return "no handshake completed"
        if made.state == "connected":
            self.outbound, self._inbound = made._tx_srtp, made._rx_srtp
            return None
        if not made.encrypted:
            return "the handshake failed"
        if not (made._ssl and made._ssl.get_selected_srtp_profile()):
            return "no SRTP profile was agreed"
        return "the recorder's certificate is not the one its answer names"

    def take(self, datagram: bytes) -> bytes | None:
        """Return a datagram of the recorder; None if it belongs to the handshake or came before its end."""
        if datagram and datagram[0] in _DTLS_BYTES:
            self._records.put_nowait(datagram)
            return None
        return None if self._dtls and not self.outbound else datagram

    def read(self, report: bytes) -> bytes:
        """Open a report of the recorder; raise pylibsrtp.Error or ValueError if it is not protected as agreed."""
        if self.outbound is None:
            return report
        if self._inbound is None:
            raise ValueError("the recorder named no key")
        return bytes(self._inbound.unprotect_rtcp(report))

    async def send(self, packet: bytes) -> None:
        """Send a packet as it is; raise OSError."""
        await deliver(self._stream, packet, self.name)

    async def _send(self, record: bytes) -> None:
        if not self._open:
            raise ConnectionError
        with contextlib.suppress(OSError):  # sent again later
            await self.send(record)

    async def _recv(self) -> bytes:
        return await self._records.get()

    async def close(self) -> None:
        """Forget the handshake without another word: the recorder's port may be that of the next call already."""
        self._open = False
        if self._dtls is not None:
            await self._dtls.stop()
