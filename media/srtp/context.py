"""SRTP contexts (RFC 3711, 4568, 6188, 7714): one key in, decrypted packets out.

libsrtp does the work. pylibsrtp brings it and declares some of its functions; the others, which set the policy of a
suite and the rollover counter of a stream, are found by name in the same module. The MKI, which is outside the
authenticated part, is removed here.
"""

import ctypes
import hmac
import struct
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pylibsrtp import _binding as binding

from media.errors import UnusableKey
from media.srtp.srtcp import AUTHENTICATION, Srtcp
from media.srtp.suites import SUITES, SessionKeys, Suite, suite_of

__all__ = ["AUTHENTICATION", "SUITES", "Aes192Engine", "Context", "Engine", "ffi", "lib"]

# pylibsrtp's cffi module has no type information
ffi: Any = binding.ffi
lib: Any = binding.lib

#: Longest datagram that is decrypted; the receiver has already dropped anything longer, such as a jumbo frame.
MAX_PACKET = 2048
#: SRTP_MAX_KEY_LEN of srtp.h: bytes of the longest key with its salt, and more than libsrtp reads of any key.
MAX_KEY = 64
#: Space that libsrtp needs after a packet it protects (tag and MKI).
TRAILER = 160
#: Rollover counters tried for a stream joined in mid-call: 64 cycles are 23 hours of 20 ms packets.
MAX_ROLLOVER = 64
#: Packets below the highest for which libsrtp can tell new from duplicate, twice RFC 3711's minimum;
#: media.stream.srtp_recovery handles the rest of our window.
REPLAYS = 128
REPLAYED = (9, 10)


def _function(name: str, *arguments: Any) -> Any:
    """Return a function of libsrtp that pylibsrtp does not declare; raise AttributeError if it is not there."""
    found = getattr(_exported, name)
    found.argtypes = arguments
    return found


_exported = ctypes.CDLL(binding.__file__)
_set_rollover = _function("srtp_set_stream_roc", ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)
_set_policy = {
    suite.policy: _function(f"srtp_crypto_policy_set_{suite.policy}", ctypes.c_void_p)
    for suite in SUITES.values()
    if suite.policy
}
#: libsrtp's policy for RTCP: none, because media.srtp.srtcp does it.
_no_rtcp = _function("srtp_crypto_policy_set_null_cipher_hmac_null", ctypes.c_void_p)


def _place(thing: Any) -> int:
    return int(ffi.cast("uintptr_t", thing))


def _free(owner: Any) -> None:
    lib.srtp_dealloc(owner[0])


@lru_cache
def _policy(suite: Suite, kind: int) -> Any:
    """Return libsrtp's policy for a suite, without the key; `kind`: which SSRCs it is for."""
    policy = ffi.new("srtp_policy_t *")
    _set_policy[suite.policy](_place(ffi.addressof(policy.rtp)))
    _no_rtcp(_place(ffi.addressof(policy.rtcp)))
    policy.ssrc.type, policy.window_size, policy.allow_repeat_tx = kind, REPLAYS, 1
    return policy


class Engine:
    """A libsrtp session for any SSRC of one direction."""

    __slots__ = ("_owner", "session")

    def __init__(self, suite: Suite, key: bytes, inbound: bool) -> None:
        self._owner = ffi.gc(ffi.new("srtp_t *"), _free)
        kind = lib.ssrc_any_inbound if inbound else lib.ssrc_any_outbound
        if _with_key(_policy(suite, kind), key, lambda policy: lib.srtp_create(self._owner, policy)):
            raise UnusableKey("libsrtp refused the key")
        self.session = self._owner[0]

    def begin_at(self, suite: Suite, key: bytes, ssrc: int, rollover: int) -> None:
        """Expect a source that is not known yet, whose next packet has this rollover counter."""
        policy = _policy(suite, lib.ssrc_specific)
        policy.ssrc.value = ssrc
        refused = _with_key(policy, key, lambda policy: lib.srtp_add_stream(self.session, policy))
        if refused or _set_rollover(_place(self.session), ssrc, rollover):
            raise UnusableKey("libsrtp refused the rollover counter")

    def set_rollover(self, ssrc: int, rollover: int) -> None:
        """Expect another rollover counter in the next packet of a source given to `begin_at`."""
        if _set_rollover(_place(self.session), ssrc, rollover):
            raise UnusableKey("libsrtp refused the rollover counter")

    def unprotect(self, packet: bytes) -> bytes | int:
        """Decrypt an RTP packet; return libsrtp's status if it is not genuine."""
        return self._call(lib.srtp_unprotect, packet)

    def protect(self, packet: bytes) -> bytes:
        """Protect an RTP packet; raise UnusableKey if libsrtp refuses."""
        result = self._call(lib.srtp_protect, packet)
        if isinstance(result, int):
            raise UnusableKey("libsrtp would not protect a packet")
        return result

    def _call(self, function: Any, packet: bytes) -> bytes | int:
        if len(packet) > MAX_PACKET:
            return AUTHENTICATION
        ffi.memmove(_SCRATCH, packet, len(packet))
        _LENGTH[0] = len(packet)
        status: int = function(self.session, _SCRATCH, _LENGTH)
        return status or bytes(_SCRATCH_VIEW[: _LENGTH[0]])


def _with_key(policy: Any, key: bytes, call: Any) -> int:
    """Call with a policy that has a key for as long as that takes."""
    # libsrtp copies it, for an AEAD suite two bytes more than there are
    secret = ffi.new("unsigned char[]", key.ljust(MAX_KEY, b"\0"))
    policy.key = secret
    refused: int = call(policy)
    policy.key = ffi.NULL
    return refused


# one thread, one packet at a time: all contexts share a buffer
_SCRATCH = ffi.new("char[]", MAX_PACKET + TRAILER)
_SCRATCH_VIEW = ffi.buffer(_SCRATCH)
_LENGTH = ffi.new("int *")
lib.srtp_init()


class Aes192Engine:
    """AES_192_CM with HMAC-SHA1 (RFC 6188), which a client may use until it has our answer; no answer chooses it.

    libsrtp derives its session keys with AES-256, unlike RFC 6188 section 3.2. The caller detects replays.
    """

    __slots__ = ("_highest", "_keys", "_tag")
    session = None

    def __init__(self, suite: Suite, key: bytes) -> None:
        self._keys = SessionKeys(suite, key, 0)
        self._tag = suite.tag
        #: SSRC -> highest index that authenticated.
        self._highest: dict[int, int] = {}

    def begin_at(self, suite: Suite, key: bytes, ssrc: int, rollover: int) -> None:
        """Expect a source whose next packet has this rollover counter."""
        self.set_rollover(ssrc, rollover)

    def set_rollover(self, ssrc: int, rollover: int) -> None:
        """Expect this rollover counter in the next packet of a source."""
        self._highest[ssrc] = rollover << 16 | 0x8000  # whatever its sequence number is

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
        self._engine: Engine | Aes192Engine | None = None
        self._rtcp: Srtcp | None = None
        #: Rollover counter minus that of the stream's own numbers; None before the first packet with this key.
        self.shift: int | None = None

    def number_by(self, shift: int) -> int:
        """Note the rollover counter minus that of the stream's own numbers, and return it."""
        self.shift = shift
        return shift

    @property
    def engine(self) -> Engine | Aes192Engine:
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

    def begin_at(self, ssrc: int, rollover: int) -> None:
        """Expect a source that this context does not know, whose next packet has this rollover counter."""
        self.engine.begin_at(self.suite, self.key, ssrc, rollover)

    def go_on_after(self, ssrc: int, index: int) -> None:
        """Know a source that has reached this index (rollover counter << 16 | sequence), for instance before a restart.

        libsrtp learns it from a packet with that index, which never leaves the process.
        """
        sender = _engine(self.suite, self.key, inbound=False)
        sender.begin_at(self.suite, self.key, ssrc, index >> 16)
        self.begin_at(ssrc, index >> 16)
        self.engine.unprotect(sender.protect(struct.pack("!BBHII", 0x80, 0, index & 0xFFFF, 0, ssrc)))

    def find_rollover(self, packet: bytes) -> "tuple[Context, int, bytes] | None":
        """Try rollover counters 1, 2, … on a packet that failed at 0 (joined in mid-call).

        Return a context of the same key that continues from there, the counter and the plaintext; None if the packet is
        not genuine.
        """
        trial, ssrc = Context(self.name, self.key, self.mki), _ssrc(packet)
        trial.begin_at(ssrc, 1)
        for rollover in range(1, MAX_ROLLOVER + 1):
            trial.engine.set_rollover(ssrc, rollover)
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


def _engine(suite: Suite, key: bytes, inbound: bool) -> Engine | Aes192Engine:
    return Engine(suite, key, inbound) if suite.policy else Aes192Engine(suite, key)
