"""SRTP contexts of RFC 3711, 4568, 6188 and 7714: one key in, plaintext packets out.

libsrtp (through pylibsrtp) does the work. Three things it lacks are done here with its public calls: the MKI is cut
out (it is outside of the authenticated part), a fresh context is walked forward to a rollover counter with packets that
never leave the process, and AES_256_CM has a class of its own.
"""

import hmac
import struct
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pylibsrtp import Policy
from pylibsrtp import _binding as binding

from media.errors import UnusableKey
from media.sequence import WINDOW

# pylibsrtp's cffi module has no type information
ffi: Any = binding.ffi
lib: Any = binding.lib

#: Longest datagram that is opened: an Ethernet jumbo frame would be split by the drain before.
MAX_PACKET = 2048
#: Room libsrtp wants behind a packet it protects (tag and MKI).
TRAILER = 160
#: A step in the walk to a rollover counter; below 2^15, or the index estimate goes backwards.
WALK_STEP = 0x7000
#: Rollover counters that are tried for a stream that was joined in mid call: 64 wraps are 23 hours of 20 ms packets.
MAX_ROLLOVER = 64
REPLAYED = (9, 10)
AUTHENTICATION = 7


@dataclass(frozen=True)
class Suite:
    """What a crypto suite fixes."""

    # libsrtp's profile; None = own class
    profile: int | None
    # bytes of master key and salt
    key: int
    salt: int
    # bytes of the RTP and the RTCP tag
    tag: int
    rtcp_tag: int
    # authenticated encryption: the tag is in the ciphertext, the MKI behind it
    aead: bool = False


SUITES = {
    "AES_CM_128_HMAC_SHA1_80": Suite(Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14, 10, 10),
    "AES_CM_128_HMAC_SHA1_32": Suite(Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 16, 14, 4, 10),
    "AES_256_CM_HMAC_SHA1_80": Suite(None, 32, 14, 10, 10),
    "AES_256_CM_HMAC_SHA1_32": Suite(None, 32, 14, 4, 10),
    "AES_192_CM_HMAC_SHA1_80": Suite(None, 24, 14, 10, 10),
    "AES_192_CM_HMAC_SHA1_32": Suite(None, 24, 14, 4, 10),
    "AEAD_AES_128_GCM": Suite(Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12, 16, 16, True),
    "AEAD_AES_256_GCM": Suite(Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12, 16, 16, True),
}


class Engine(Protocol):
    """One direction of one key."""

    session: Any

    def unprotect(self, packet: bytes) -> bytes | int: ...
    def unprotect_rtcp(self, packet: bytes) -> bytes | int: ...
    def protect(self, packet: bytes) -> bytes: ...
    def protect_rtcp(self, packet: bytes) -> bytes: ...


class LibEngine:
    """A libsrtp session for any SSRC of one direction."""

    def __init__(self, profile: int, key: bytes, inbound: bool) -> None:
        kind = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
        policy = Policy(key=key, ssrc_type=kind, srtp_profile=profile)
        policy.window_size = WINDOW
        policy.allow_repeat_tx = True
        owner = ffi.new("srtp_t *")
        if lib.srtp_create(owner, policy._policy):
            raise UnusableKey("libsrtp refused the key")
        self._owner = ffi.gc(owner, lambda x: lib.srtp_dealloc(x[0]))
        self.session = owner[0]

    def unprotect(self, packet: bytes) -> bytes | int:
        """Open an RTP packet; libsrtp's status if it is not genuine."""
        return self._call(lib.srtp_unprotect, packet)

    def unprotect_rtcp(self, packet: bytes) -> bytes | int:
        """Open an RTCP compound; libsrtp's status if it is not genuine."""
        return self._call(lib.srtp_unprotect_rtcp, packet)

    def protect(self, packet: bytes) -> bytes:
        """Protect an RTP packet; UnusableKey if libsrtp will not."""
        return self._must(lib.srtp_protect, packet)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Protect an RTCP compound; UnusableKey if libsrtp will not."""
        return self._must(lib.srtp_protect_rtcp, packet)

    def _call(self, function: Any, packet: bytes) -> bytes | int:
        if len(packet) > MAX_PACKET:
            return AUTHENTICATION
        ffi.memmove(_SCRATCH, packet, len(packet))
        _LENGTH[0] = len(packet)
        status: int = function(self.session, _SCRATCH, _LENGTH)
        return status or bytes(_SCRATCH_VIEW[: _LENGTH[0]])

    def _must(self, function: Any, packet: bytes) -> bytes:
        result = self._call(function, packet)
        if isinstance(result, int):
            raise UnusableKey("libsrtp would not protect a packet")
        return result


# one thread, one packet at a time: a buffer for all contexts
_SCRATCH = ffi.new("char[]", MAX_PACKET + TRAILER)
_SCRATCH_VIEW = ffi.buffer(_SCRATCH)
_LENGTH = ffi.new("int *")
lib.srtp_init()


class WideEngine:
    """AES_192_CM and AES_256_CM with HMAC-SHA1 (RFC 6188), which pylibsrtp does not offer; replays are the
    caller's to find.
    """

    session = None

    def __init__(self, suite: Suite, key: bytes) -> None:
        master, salt = key[: suite.key], key[suite.key :]
        self._rtp = _Keys(master, salt, 0)
        self._rtcp = _Keys(master, salt, 3)
        self._suite = suite
        #: SSRC -> highest index that authenticated.
        self._highest: dict[int, int] = {}
        self._sent = 0

    def unprotect(self, packet: bytes) -> bytes | int:
        """Open an RTP packet; a status as libsrtp's if it is not genuine."""
        if len(packet) < 12 + self._suite.tag:
            return AUTHENTICATION
        body, tag = packet[: -self._suite.tag], packet[-self._suite.tag :]
        sequence, ssrc = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[8:12], "big")
        index = self._index(ssrc, sequence)
        if index < 0 or not hmac.compare_digest(self._rtp.tag(body + (index >> 16).to_bytes(4, "big"), len(tag)), tag):
            return AUTHENTICATION
        start = _payload(body)
        if start > len(body):
            return AUTHENTICATION
        self._highest[ssrc] = max(index, self._highest.get(ssrc, 0))
        return body[:start] + self._rtp.crypt(ssrc, index, body[start:])

    def protect(self, packet: bytes) -> bytes:
        """Protect an RTP packet, its rollover counter counted from its numbers."""
        sequence, ssrc = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[8:12], "big")
        index = self._index(ssrc, sequence)
        self._highest[ssrc] = max(index, self._highest.get(ssrc, 0))
        start = _payload(packet)
        body = packet[:start] + self._rtp.crypt(ssrc, index, packet[start:])
        return body + self._rtp.tag(body + (index >> 16 & 0xFFFFFFFF).to_bytes(4, "big"), self._suite.tag)

    def unprotect_rtcp(self, packet: bytes) -> bytes | int:
        """Open an RTCP compound; a status as libsrtp's if it is not genuine."""
        size = self._suite.rtcp_tag
        if len(packet) < 12 + size or not hmac.compare_digest(self._rtcp.tag(packet[:-size], size), packet[-size:]):
            return AUTHENTICATION
        index = int.from_bytes(packet[-size - 4 : -size], "big")
        body = packet[: -size - 4]
        if not index >> 31:
            return body
        return body[:8] + self._rtcp.crypt(int.from_bytes(packet[4:8], "big"), index & 0x7FFFFFFF, body[8:])

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Protect an RTCP compound with the next index."""
        self._sent += 1
        body = packet[:8] + self._rtcp.crypt(int.from_bytes(packet[4:8], "big"), self._sent, packet[8:])
        body += (1 << 31 | self._sent).to_bytes(4, "big")
        return body + self._rtcp.tag(body, self._suite.rtcp_tag)

    def _index(self, ssrc: int, sequence: int) -> int:
        highest = self._highest.get(ssrc)
        if highest is None or highest <= 0x8000:
            return sequence
        return highest + ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000


class _Keys:
    """Session keys of one protocol (RFC 3711 section 4.3.1), derivation rate 0."""

    def __init__(self, master: bytes, salt: bytes, label: int) -> None:
        def derive(label: int, size: int) -> bytes:
            start = (int.from_bytes(salt, "big") ^ label << 48) << 16
            return Cipher(algorithms.AES(master), modes.CTR(start.to_bytes(16, "big"))).encryptor().update(bytes(size))

        self._cipher = algorithms.AES(derive(label, len(master)))
        self._hmac = derive(label + 1, 20)
        self._salt = int.from_bytes(derive(label + 2, 14), "big") << 16

    def tag(self, data: bytes, size: int) -> bytes:
        return hmac.digest(self._hmac, data, "sha1")[:size]

    def crypt(self, ssrc: int, index: int, data: bytes) -> bytes:
        start = self._salt ^ ssrc << 64 ^ index << 16
        return Cipher(self._cipher, modes.CTR(start.to_bytes(16, "big"))).encryptor().update(data)


def _payload(packet: bytes) -> int:
    """Give where the encrypted part begins: behind CSRC and extension."""
    start = 12 + 4 * (packet[0] & 15)
    if packet[0] & 16:
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    return start


class Context:
    """One key of one stream with its suite and MKI."""

    __slots__ = ("engine", "key", "mki", "name", "session", "suite")

    def __init__(self, suite: str, key: bytes, mki: int = 0) -> None:
        self.name = suite
        self.suite = _suite(suite, key)
        self.key = key
        #: Length of the MKI in every packet; its value is outside of what is authenticated.
        self.mki = mki
        self.engine: Engine = _engine(self.suite, self.key, inbound=True)
        #: The libsrtp session where whole batches may go to it unread, else None.
        self.session: Any = self.engine.session if not self.mki else None

    def unprotect(self, packet: bytes) -> bytes | int:
        """Open an RTP packet; a libsrtp status if it is not genuine."""
        return self.engine.unprotect(self._without_mki(packet, self.suite.tag))

    def unprotect_rtcp(self, packet: bytes) -> bytes | int:
        """Open an RTCP compound; a libsrtp status if it is not genuine."""
        return self.engine.unprotect_rtcp(self._without_mki(packet, self.suite.rtcp_tag))

    def walk(self, ssrc: int, index: int) -> None:
        """Bring a fresh context to the index (rollover counter << 16 | sequence) that was reached before."""
        _Walk(self, ssrc).to(index)

    def find_rollover(self, packet: bytes) -> "tuple[Context, int, bytes] | None":
        """Try rollover counters 1, 2, … on a packet that failed at 0 (joined in mid call).

        Return a context of the same key that goes on from there, the counter and the plaintext; None if it is not
        genuine.
        """
        sequence, ssrc = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[8:12], "big")
        trial = Context(self.name, self.key, self.mki)
        walk = _Walk(trial, ssrc)
        for rollover in range(1, MAX_ROLLOVER + 1):
            walk.to((rollover << 16 | sequence) - 1)
            plain = trial.unprotect(packet)
            if not isinstance(plain, int):
                return trial, rollover, plain
        return None

    def _without_mki(self, packet: bytes, tag: int) -> bytes:
        if not self.mki:
            return packet
        if self.suite.aead:
            return packet[: -self.mki]
        return packet[: -tag - self.mki] + packet[-tag:]


class _Walk:
    """Packets protected here and never sent, which drag a context's index along."""

    def __init__(self, context: Context, ssrc: int) -> None:
        self._sender = _engine(context.suite, context.key, inbound=False)
        self._receiver = context.engine
        self._ssrc, self._at = ssrc, 0
        self._step(0)

    def to(self, index: int) -> None:
        while self._at < index:
            self._step(min(index, self._at + WALK_STEP))

    def _step(self, index: int) -> None:
        packet = struct.pack("!BBHII", 0x80, 0, index & 0xFFFF, 0, self._ssrc) + b"\0"
        self._receiver.unprotect(self._sender.protect(packet))
        self._at = index


_EMPTY_REPORT = struct.pack("!BBHI", 0x80, 201, 1, 0)


class Outgoing:
    """Our own key, which protects the receiver reports."""

    def __init__(self, suite: str, key: bytes, sent: int = 0) -> None:
        self._engine = _engine(_suite(suite, key), key, inbound=False)
        for _ in range(sent):  # an index used before a restart must not protect another packet
            self._engine.protect_rtcp(_EMPTY_REPORT)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Protect a compound with the next SRTCP index."""
        return self._engine.protect_rtcp(packet)


def _suite(name: str, key: bytes) -> Suite:
    suite = SUITES.get(name)
    if suite is None:
        raise UnusableKey("unknown crypto suite")
    if len(key) != suite.key + suite.salt:
        raise UnusableKey(f"the suite wants {suite.key + suite.salt} bytes of key and salt")
    return suite


def _engine(suite: Suite, key: bytes, inbound: bool) -> Engine:
    if suite.profile is None:
        return WideEngine(suite, key)
    return LibEngine(suite.profile, key, inbound)
