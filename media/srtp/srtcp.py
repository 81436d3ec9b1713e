"""SRTCP (RFC 3711 section 3.4, RFC 7714 section 9) for every suite. Reports are rare, so their keys are not kept.

libsrtp would keep two more cipher and two more HMAC contexts per stream, 2 KB, and cannot start at an index.
"""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from media.srtp.suites import SessionKeys, suite_of

#: Header and SSRC are never encrypted.
CLEAR = 8
#: After the packet: the E bit and the index.
WORD = 4
ENCRYPTED = 1 << 31
#: Status numbers of libsrtp.
AUTHENTICATION = 7
REPLAYED = 9
#: Sources whose index is remembered; beyond, all are removed and a report could count twice, which is harmless.
MAX_SOURCES = 16


class Srtcp:
    """One direction of one key."""

    __slots__ = ("_key", "_keys", "_newest", "_seen", "_ssrc", "_suite", "index")

    def __init__(self, suite: str, key: bytes, index: int = 0) -> None:
        self._suite = suite_of(suite, key)
        self._key = key
        self._keys: SessionKeys | None = None
        #: The last source to report and its highest genuine index; those of other sources, if there were any.
        self._ssrc, self._newest = -1, -1
        self._seen: dict[int, int] | None = None
        #: Index of the last protected packet; none may be used twice, not even after a restart.
        self.index = index

    def _session(self) -> SessionKeys:
        self._keys = SessionKeys(self._suite, self._key, 3)
        return self._keys

    def protect(self, packet: bytes) -> bytes:
        """Protect a compound with the next index."""
        self.index = index = (self.index + 1) % ENCRYPTED
        suite, keys, ssrc = self._suite, self._keys or self._session(), int.from_bytes(packet[4:CLEAR], "big")
        word = (ENCRYPTED | index).to_bytes(WORD, "big")
        head, body = packet[:CLEAR], packet[CLEAR:]
        if suite.aead:
            return head + AESGCM(keys.key).encrypt(keys.nonce(ssrc, index), body, head + word) + word
        sealed = head + keys.crypt(ssrc, index, body) + word
        return sealed + keys.tag(sealed, suite.rtcp_tag)

    def unprotect(self, packet: bytes) -> bytes | int:
        """Decrypt a compound; AUTHENTICATION if it is not genuine or not encrypted, REPLAYED if it is not new."""
        suite = self._suite
        size = suite.rtcp_tag
        if len(packet) < CLEAR + WORD + size:
            return AUTHENTICATION
        keys = self._keys or self._session()
        # GCM has its tag before the word, HMAC after it
        end = len(packet) if suite.aead else len(packet) - size
        index = int.from_bytes(packet[end - WORD : end], "big") ^ ENCRYPTED
        head, body, ssrc = packet[:CLEAR], packet[CLEAR : end - WORD], int.from_bytes(packet[4:CLEAR], "big")
        if suite.aead:
            if index & ENCRYPTED:
                return AUTHENTICATION
            try:
                plain = AESGCM(keys.key).decrypt(keys.nonce(ssrc, index), body, head + packet[end - WORD :])
            except InvalidTag:
                return AUTHENTICATION
        elif not hmac.compare_digest(keys.tag(packet[:end], size), packet[end:]) or index & ENCRYPTED:
            return AUTHENTICATION
        else:
            plain = keys.crypt(ssrc, index, body)
        if ssrc != self._ssrc:
            self._turn_to(ssrc)
        if index <= self._newest:
            return REPLAYED
        self._newest = index
        return head + plain

    def _turn_to(self, ssrc: int) -> None:
        """Store the previous source and look up this one."""
        if self._newest >= 0:
            if self._seen is None or len(self._seen) >= MAX_SOURCES:
                self._seen = {}
            self._seen[self._ssrc] = self._newest
        self._ssrc, self._newest = ssrc, (self._seen or {}).get(ssrc, -1)
