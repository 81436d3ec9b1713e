"""An SBC's side of a stream with DTLS-SRTP, on pyOpenSSL alone; only its certificate comes from the recorder's code."""

import asyncio
import select
import socket
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL
from pylibsrtp import Policy, Session

from media.srtp.dtls import Identity
from tests.in_process.worker_call import Sender

NOW = datetime(2026, 1, 1, tzinfo=UTC)
US, SBC = Identity.create(NOW), Identity.create(NOW)
PROFILES = {
    b"SRTP_AES128_CM_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
    b"SRTP_AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
}


class Peer(Sender):
    """A DTLS peer that continues its handshake whenever a datagram arrives, then sends SRTP with the keys."""

    def __init__(
        self, ssrc: int, *, server: bool = True, profile: bytes = b"SRTP_AES128_CM_SHA1_80", who: Identity = SBC,
        hears: int | None = None,
    ) -> None:  # fmt: skip
        """Create a peer; after `hears` handshake datagrams it stops reading until `listen`."""
        super().__init__(None, ssrc, 65500)
        self.profile, self.server, self.who = profile, server, who
        self.ready = asyncio.Event()
        self.heard: list[bytes] = []
        self.opener: Session | None = None
        self.flights = 0
        self.hears = hears
        self.socket.setblocking(False)
        self.target: tuple[str, int] | None = None
        self.renew()
        self.timer = asyncio.get_running_loop().call_later(0.1, self._repeat)
        asyncio.get_running_loop().add_reader(self.socket, self.hear)

    def renew(self) -> None:
        """Prepare for another association."""
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.use_privatekey(self.who.key)
        context.use_certificate(self.who.certificate)
        context.set_tlsext_use_srtp(self.profile)
        self.connection = SSL.Connection(context, None)
        self.connection.set_ciphertext_mtu(1200)
        self.connection.set_accept_state() if self.server else self.connection.set_connect_state()
        self.ready.clear()

    def _repeat(self) -> None:
        """Retransmit a flight without an answer when OpenSSL's timer expires."""
        if self.target is not None and not self.ready.is_set():
            try:
                self.connection.DTLSv1_handle_timeout()
                self.socket.sendto(self.connection.bio_read(65536), self.target)
            except (SSL.Error, OSError):
                pass
        self.timer = asyncio.get_running_loop().call_later(0.1, self._repeat)

    def begin(self, port: int) -> None:
        """Send the first flight."""
        self._turn(("127.0.0.1", port))

    @property
    def asked(self) -> bool:
        """Return whether a datagram waits that was not read."""
        return bool(select.select([self.socket], [], [], 0)[0])

    @property
    def shown(self) -> str:
        """Return the a=fingerprint of the certificate that the other end presented."""
        certificate = self.connection.get_peer_certificate(as_cryptography=True)
        return f"sha-256 {certificate.fingerprint(SHA256()).hex(':').upper()}" if certificate else ""

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.socket.getsockname()
        return host, port

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.timer.cancel()

    def listen(self) -> None:
        """Discard what has arrived and read everything from now on."""
        try:
            while self.socket.recv(4096):
                continue
        except BlockingIOError:
            pass
        self.hears = None
        asyncio.get_running_loop().add_reader(self.socket, self.hear)
        self.timer.cancel()
        self._repeat()

    def hear(self) -> None:
        """Read all datagrams that have arrived, up to the limit of `hears`."""
        while True:
            if self.flights == self.hears:
                self.close()
                return
            try:
                data, source = self.socket.recvfrom(4096)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if not 20 <= data[0] <= 63:
                self.heard.append(data)
                continue
            self.flights += 1
            self.connection.bio_write(data)
            if self.ready.is_set():
                self._afterwards(source)
            else:
                self._turn(source)

    def _afterwards(self, target: tuple[str, int]) -> None:
        """Let OpenSSL answer a retransmission."""
        try:
            self.connection.recv(4096)
        except SSL.Error:
            pass
        try:
            self.socket.sendto(self.connection.bio_read(65536), target)
        except SSL.Error:
            pass

    def _turn(self, target: tuple[str, int]) -> None:
        self.target = target
        done = False
        try:
            self.connection.do_handshake()
            done = True
        except SSL.Error:
            pass
        try:
            self.socket.sendto(self.connection.bio_read(65536), target)
        except SSL.Error:
            pass
        if done:
            self._take_keys()
            self.ready.set()

    def _take_keys(self) -> None:
        number, key, salt = PROFILES[self.profile]
        material = self.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        ours, theirs = (server, client) if self.server else (client, server)
        self.session = Session(Policy(key=ours, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=number))
        self.opener = Session(Policy(key=theirs, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=number))


def udp() -> socket.socket:
    """Return an unrelated UDP socket."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    return opened


def offer(*peers: Peer, mux: bool = True, fingerprint: str = SBC.fingerprint, version: int = 1) -> bytes:
    """Return an SBC's offer with one media line for each peer, as rtpengine writes it."""
    lines = ["v=0", f"o=- 7 {version} IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    for label, peer in enumerate(peers, 1):
        lines += [f"m=audio {peer.address[1]} UDP/TLS/RTP/SAVPF 8", f"a=label:{label}", "a=sendonly"]
        lines += [f"a=setup:{'actpass' if peer.server else 'active'}", f"a=fingerprint:{fingerprint}"]
        lines += ["a=rtcp-mux"] if mux else []
    return ("\r\n".join(lines) + "\r\n").encode()


async def talk(peers: Sequence[Peer], ports: Sequence[int], frames: int) -> None:
    """Send a frame from every peer each 20 ms."""
    for _ in range(frames):
        for peer, port in zip(peers, ports, strict=True):
            peer.send(port)
        await asyncio.sleep(0.02)
