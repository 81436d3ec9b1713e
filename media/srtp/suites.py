"""Crypto suites of SRTP (RFC 4568 section 6.2, 6188, 7714): what each fixes, and the session keys of the protocol."""

from dataclasses import dataclass
from hashlib import sha1

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pylibsrtp import Policy

from media.errors import UnusableKey

#: Bytes of the session keys for HMAC-SHA1 and of the salt that a counter is mixed with (RFC 3711 section 4.3.1).
AUTHENTICATION_KEY = 20
SALT = 14
#: Bytes that SHA-1 takes at a time, to which HMAC fills up its key, and what HMAC mixes into each (RFC 2104 section 2).
_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_INNER_REST, _OUTER_REST = (table[:1] * (_BLOCK - AUTHENTICATION_KEY) for table in (_INNER, _OUTER))


@dataclass(frozen=True, slots=True)
class Suite:
    """What a crypto suite fixes."""

    # profile of pylibsrtp; None = it has none
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


def suite_of(name: str, key: bytes) -> Suite:
    """Give a suite by name; UnusableKey if it is unknown or key‖salt has another length than it wants."""
    suite = SUITES.get(name)
    if suite is None:
        raise UnusableKey("unknown crypto suite")
    if len(key) != suite.key + suite.salt:
        raise UnusableKey(f"the suite wants {suite.key + suite.salt} bytes of key and salt")
    return suite


class SessionKeys:
    """Session keys of one protocol (RFC 3711 section 4.3.1), derivation rate 0; label 0 is RTP's, 3 RTCP's."""

    # one object for all three: a key in an object of its own takes as much again in overhead, thousands of times
    __slots__ = ("_cut", "_keys")

    def __init__(self, suite: Suite, master: bytes, label: int) -> None:
        key = master[: suite.key]
        # RFC 7714 section 11: a salt of 12 bytes is filled up with zeros
        salt = int.from_bytes(master[suite.key :].ljust(SALT, b"\0"), "big")

        def derive(number: int, size: int) -> bytes:
            start = (salt ^ number << 48) << 16
            return _counter(key, start, bytes(size))

        self._cut = suite.key
        self._keys = derive(label, suite.key) + derive(label + 1, AUTHENTICATION_KEY) + derive(label + 2, suite.salt)

    @property
    def key(self) -> bytes:
        """Give the key of the cipher."""
        return self._keys[: self._cut]

    @property
    def _salt(self) -> int:
        return int.from_bytes(self._keys[self._cut + AUTHENTICATION_KEY :], "big")

    def tag(self, data: bytes, size: int) -> bytes:
        """Authenticate with HMAC-SHA1 (RFC 2104), cut to `size` bytes."""
        # by its two hashes: OpenSSL's HMAC looks up and sets up as much again
        key = self._keys[self._cut : self._cut + AUTHENTICATION_KEY]
        inner = sha1(key.translate(_INNER) + _INNER_REST + data, usedforsecurity=False).digest()
        return sha1(key.translate(_OUTER) + _OUTER_REST + inner, usedforsecurity=False).digest()[:size]

    def crypt(self, ssrc: int, index: int, data: bytes) -> bytes:
        """Encrypt or decrypt in counter mode (RFC 3711 section 4.1.1)."""
        keys, cut = self._keys, self._cut
        salt = int.from_bytes(keys[cut + AUTHENTICATION_KEY :], "big")
        return _counter(keys[:cut], (salt ^ ssrc << 48 ^ index) << 16, data)

    def nonce(self, ssrc: int, index: int) -> bytes:
        """Give the nonce of an SRTCP packet in GCM (RFC 7714 section 9.1)."""
        return (self._salt ^ ssrc << 48 ^ index).to_bytes(12, "big")


def _counter(key: bytes, start: int, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(start.to_bytes(16, "big"))).encryptor().update(data)
