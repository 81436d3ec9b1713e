"""SRTP contexts (RFC 3711, 4568, 6188, 7714): one key in, decrypted packets out.

libsrtp (through pylibsrtp) does the work. Three things that it lacks are done here. The MKI is removed (it is outside
the authenticated part). A fresh context is advanced to a rollover counter with packets that never leave the process.
AES_256_CM, which libsrtp supports and pylibsrtp has no profile for, is set in the fields of the policy struct; if the
struct's layout is unknown, a class of our own does it at twice the cost.
"""

import hmac
import struct
from functools import lru_cache
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pylibsrtp import Policy
from pylibsrtp import _binding as binding

from media.errors import UnusableKey
from media.rtp.sequence import WINDOW
from media.srtp.srtcp import AUTHENTICATION, Srtcp
from media.srtp.suites import AUTHENTICATION_KEY, SUITES, SessionKeys, Suite, suite_of

__all__ = ["AUTHENTICATION", "SUITES", "Context", "LibEngine", "WideEngine", "ffi", "lib"]

# pylibsrtp's cffi module has no type information
ffi: Any = binding.ffi
lib: Any = binding.lib

#: Longest datagram that is decrypted; the receiver has already dropped anything longer, such as a jumbo frame.
MAX_PACKET = 2048
#: SRTP_MAX_KEY_LEN of srtp.h: bytes of the longest key with its salt, and more than libsrtp reads of any key.
MAX_KEY = 64
#: Space that libsrtp needs after a packet it protects (tag and MKI).
TRAILER = 160
#: A step in advancing to a rollover counter; below 2^15, or the index estimate goes backwards.
WALK_STEP = 0x7000
#: Rollover counters tried for a stream joined in mid-call: 64 cycles are 23 hours of 20 ms packets.
MAX_ROLLOVER = 64
#: Packets below the highest for which libsrtp can tell new from duplicate, twice RFC 3711's minimum;
#: media.stream.srtp_recovery handles the rest of our window.
REPLAYS = 128
#: How far before a packet a fresh context starts, so that packets overtaken by that one do not count as replays.
BEHIND = 2 * WINDOW
REPLAYED = (9, 10)
#: struct srtp_crypto_policy_t of srtp.h: cipher, its key length, authentication, its key length, tag length, services.
_POLICY = struct.Struct("=IiIiii")
#: libsrtp's policy for RTCP: none, because media.srtp.srtcp does it; this key length is accepted with every profile.
_NO_RTCP = _POLICY.pack(0, 30, 0, 0, 0, 0)
#: AES_CM_128_HMAC_SHA1_80 in that struct, used to recognise its layout.
_KNOWN_POLICY = (1, 30, 3, 20, 10, 3)
#: SRTP_AES_ICM_256 of srtp.h, for a suite without a profile, by key length in bytes. AES_192_CM is not given to
#: libsrtp, which derives its session keys with AES-256, unlike RFC 6188 section 3.2.
_CIPHERS = {32: 5}
_HMAC_SHA1, _BOTH_SERVICES = 3, 3


class Engine(Protocol):
    """One direction of one key."""

    session: Any

    def unprotect(self, packet: bytes) -> bytes | int: ...
    def protect(self, packet: bytes) -> bytes: ...


def _layout_known() -> bool:
    """Return whether the struct of a crypto policy is as in srtp.h; if not, libsrtp keeps its RTCP contexts."""
    policy = Policy(srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80)
    raw = bytes(ffi.buffer(ffi.addressof(policy._policy.rtcp)))
    return len(raw) == _POLICY.size and _POLICY.unpack(raw) == _KNOWN_POLICY


_LAYOUT_KNOWN = _layout_known()


def _free(owner: Any) -> None:
    lib.srtp_dealloc(owner[0])


@lru_cache
def _policy(suite: Suite, inbound: bool) -> Policy:
    """Return libsrtp's policy for a suite, without the key; cached, since it takes as long as creating a session."""
    kind = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
    policy = Policy(ssrc_type=kind, srtp_profile=suite.profile or Policy.SRTP_PROFILE_AES128_CM_SHA1_80)
    policy.window_size = REPLAYS
    policy.allow_repeat_tx = True
    if suite.profile is None:
        cipher = (_CIPHERS[suite.key], suite.key + suite.salt, _HMAC_SHA1, AUTHENTICATION_KEY, suite.tag)
        ffi.buffer(ffi.addressof(policy._policy.rtp))[:] = _POLICY.pack(*cipher, _BOTH_SERVICES)
    if _LAYOUT_KNOWN:
        ffi.buffer(ffi.addressof(policy._policy.rtcp))[:] = _NO_RTCP
    return policy


class LibEngine:
    """A libsrtp session for any SSRC of one direction."""

    __slots__ = ("_owner", "session")

    def __init__(self, suite: Suite, key: bytes, inbound: bool) -> None:
        policy = _policy(suite, inbound)._policy
        # libsrtp copies it, for an AEAD suite two bytes more than there are; Policy.key insists on a profile's length
        secret = ffi.new("unsigned char[]", key.ljust(MAX_KEY, b"\0"))
        policy.key = secret
        owner = ffi.new("srtp_t *")
        refused = lib.srtp_create(owner, policy)
        policy.key = ffi.NULL
        if refused:
            raise UnusableKey("libsrtp refused the key")
        self._owner = ffi.gc(owner, _free)
        self.session = owner[0]

    def unprotect(self, packet: bytes) -> bytes | int:
        """Decrypt an RTP packet; return libsrtp's status if it is not genuine."""
        return self._call(lib.srtp_unprotect, packet)

    def protect(self, packet: bytes) -> bytes:
        """Protect an RTP packet; raise UnusableKey if libsrtp refuses."""
        return self._must(lib.srtp_protect, packet)

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


# one thread, one packet at a time: all contexts share a buffer
_SCRATCH = ffi.new("char[]", MAX_PACKET + TRAILER)
_SCRATCH_VIEW = ffi.buffer(_SCRATCH)
_LENGTH = ffi.new("int *")
lib.srtp_init()


class WideEngine:
    """AES_192_CM and AES_256_CM with HMAC-SHA1 (RFC 6188) without libsrtp; the caller detects replays."""

    __slots__ = ("_highest", "_keys", "_tag")
    session = None

    def __init__(self, suite: Suite, key: bytes) -> None:
        self._keys = SessionKeys(suite, key, 0)
        self._tag = suite.tag
        #: SSRC -> highest index that authenticated.
        self._highest: dict[int, int] = {}

    def unprotect(self, packet: bytes) -> bytes | int:
        """Decrypt an RTP packet; return a status like libsrtp's if it is not genuine."""
        if len(packet) < 12 + self._tag:
            return AUTHENTICATION
        body, tag = packet[: -self._tag], packet[-self._tag :]
        sequence, ssrc = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[8:12], "big")
        index = self._index(ssrc, sequence)
        if index < 0 or not hmac.compare_digest(self._keys.tag(body + (index >> 16).to_bytes(4, "big"), len(tag)), tag):
            return AUTHENTICATION
        start = _payload(body)
        if start > len(body):
            return AUTHENTICATION
        self._highest[ssrc] = max(index, self._highest.get(ssrc, 0))
        return body[:start] + self._keys.crypt(ssrc, index, body[start:])

    def protect(self, packet: bytes) -> bytes:
        """Protect an RTP packet; its rollover counter follows from its numbers."""
        sequence, ssrc = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[8:12], "big")
        index = self._index(ssrc, sequence)
        self._highest[ssrc] = max(index, self._highest.get(ssrc, 0))
        start = _payload(packet)
        body = packet[:start] + self._keys.crypt(ssrc, index, packet[start:])
        return body + self._keys.tag(body + (index >> 16 & 0xFFFFFFFF).to_bytes(4, "big"), self._tag)

    def _index(self, ssrc: int, sequence: int) -> int:
        highest = self._highest.get(ssrc)
        if highest is None or highest <= 0x8000:
            return sequence
        return highest + ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000


def _ssrc(packet: bytes) -> int:
    return int.from_bytes(packet[8:12], "big")


def _payload(packet: bytes) -> int:
    """Return the start of the encrypted part: after CSRC and extension."""
    start = 12 + 4 * (packet[0] & 15)
    if packet[0] & 16:
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    return start


class Context:
    """One key of one stream with its suite and MKI."""

    __slots__ = ("_engine", "_keys", "_rtcp", "key", "mki", "name", "shift", "suite")

    def __init__(self, suite: str, key: bytes, mki: int = 0) -> None:
        #: Our own copy of the session keys, created with the first late packet.
        self._keys: SessionKeys | None = None
        self.name = suite
        self.suite = suite_of(suite, key)
        self.key = key
        #: Length of the MKI in every packet; its value is not authenticated.
        self.mki = mki
        #: Created with the first packet: most keys of an offer with several lines never open any.
        self._engine: Engine | None = None
        self._rtcp: Srtcp | None = None
        #: Rollover counter minus that of the stream's own numbers; None before the first packet with this key.
        self.shift: int | None = None

    @property
    def engine(self) -> Engine:
        """Return the engine that decrypts RTP packets."""
        engine = self._engine = self._engine or _engine(self.suite, self.key, inbound=True)
        return engine

    @property
    def rtcp(self) -> Srtcp:
        """Return the object that decrypts RTCP compounds."""
        rtcp = self._rtcp = self._rtcp or Srtcp(self.name, self.key)
        return rtcp

    @property
    def session(self) -> Any:
        """Return the libsrtp session if it can take whole batches unseen, else None."""
        return self.engine.session if not self.mki else None

    @property
    def offered(self) -> tuple[str, bytes, int]:
        """Suite, key and MKI length: a key that is offered again with an MKI is another context."""
        return self.name, self.key, self.mki

    def unprotect(self, packet: bytes) -> bytes | int:
        """Decrypt an RTP packet; return a libsrtp status if it is not genuine."""
        engine = self._engine or self.engine
        return engine.unprotect(self._without_mki(packet, self.suite.tag) if self.mki else packet)

    def unprotect_rtcp(self, packet: bytes) -> bytes | int:
        """Decrypt an RTCP compound; return a libsrtp status if it is not genuine."""
        return self.rtcp.unprotect(self._without_mki(packet, self.suite.rtcp_tag))

    def genuine(self, packet: bytes, index: int) -> bool:
        """Return whether a packet has this key and index, even beyond libsrtp's window; no state changes."""
        return self.open_at(packet, index) is not None

    def open_at(self, packet: bytes, index: int) -> bytes | None:
        """Decrypt a packet at this index, without libsrtp and its window; None if it is not genuine."""
        packet, tag = self._without_mki(packet, self.suite.tag), self.suite.tag
        if len(packet) < 12 + tag or index < 0:
            return None
        keys = self._keys = self._keys or SessionKeys(self.suite, self.key, 0)
        ssrc, start = _ssrc(packet), _payload(packet)
        if self.suite.aead:
            head, nonce = packet[:start], keys.nonce(ssrc, index)
            try:
                return head + AESGCM(keys.key).decrypt(nonce, packet[start:], head)
            except InvalidTag:
                return None
        body = packet[:-tag]
        sealed = body + (index >> 16 & 0xFFFFFFFF).to_bytes(4, "big")
        if not hmac.compare_digest(keys.tag(sealed, tag), packet[-tag:]):
            return None
        return body[:start] + keys.crypt(ssrc, index, body[start:])

    def walk(self, ssrc: int, index: int) -> None:
        """Advance a fresh context to an index (rollover counter << 16 | sequence) that was reached before."""
        _Walk(self, ssrc).to(index)

    def find_rollover(self, packet: bytes) -> "tuple[Context, int, bytes] | None":
        """Try rollover counters 1, 2, … on a packet that failed at 0 (joined in mid-call).

        Return a context of the same key that continues from there, the counter and the plaintext; None if the packet is
        not genuine.
        """
        sequence, ssrc = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[8:12], "big")
        trial = Context(self.name, self.key, self.mki)
        walk = _Walk(trial, ssrc)
        for rollover in range(1, MAX_ROLLOVER + 1):
            walk.to((rollover << 16 | sequence) - BEHIND)
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
    """Packets protected here and never sent, which advance a context's index."""

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


def _engine(suite: Suite, key: bytes, inbound: bool) -> Engine:
    if suite.profile is None and not (_LAYOUT_KNOWN and suite.key in _CIPHERS):
        return WideEngine(suite, key)
    return LibEngine(suite, key, inbound)
