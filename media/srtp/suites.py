"""Crypto suites of SRTP (RFC 4568 section 6.2, 6188, 7714): their parameters, and the session keys of a protocol."""

from dataclasses import dataclass
from hashlib import sha1

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from media.errors import UnusableKey

#: Bytes of the HMAC-SHA1 session key, and of the salt that is mixed into the counter (RFC 3711 section 4.3.1).
AUTHENTICATION_KEY = 20
SALT = 14
#: SHA-1's block size, to which HMAC pads its key, and the bytes that HMAC mixes into each block (RFC 2104 section 2).
_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_INNER_REST, _OUTER_REST = (table[:1] * (_BLOCK - AUTHENTICATION_KEY) for table in (_INNER, _OUTER))


@dataclass(frozen=True, slots=True)
class Suite:
    """The parameters of a crypto suite."""

    # the end of the name of libsrtp's function that sets its policy, srtp_crypto_policy_set_…; empty if there is none
    # that follows the RFC
    policy: str
    # bytes of master key and salt
    key: int
    salt: int
    # bytes of the RTP and the RTCP tag
    tag: int
    rtcp_tag: int
    # authenticated encryption: the tag is in the ciphertext, the MKI after it
    aead: bool = False


SUITES = {
    "AES_CM_128_HMAC_SHA1_80": Suite("rtp_default", 16, 14, 10, 10),
    "AES_CM_128_HMAC_SHA1_32": Suite("aes_cm_128_hmac_sha1_32", 16, 14, 4, 10),
    "AES_256_CM_HMAC_SHA1_80": Suite("aes_cm_256_hmac_sha1_80", 32, 14, 10, 10),
    "AES_256_CM_HMAC_SHA1_32": Suite("aes_cm_256_hmac_sha1_32", 32, 14, 4, 10),
    "AES_192_CM_HMAC_SHA1_80": Suite("", 24, 14, 10, 10),
    "AES_192_CM_HMAC_SHA1_32": Suite("", 24, 14, 4, 10),
    "AEAD_AES_128_GCM": Suite("aes_gcm_128_16_auth", 16, 12, 16, 16, True),
    "AEAD_AES_256_GCM": Suite("aes_gcm_256_16_auth", 32, 12, 16, 16, True),
}


def suite_of(name: str, key: bytes) -> Suite:
    """Return a suite by name; raise UnusableKey if it is unknown or key‖salt has the wrong length."""
    suite = SUITES.get(name)
    if suite is None:
        raise UnusableKey("unknown crypto suite")
    if len(key) != suite.key + suite.salt:
        raise UnusableKey(f"the suite needs {suite.key + suite.salt} bytes of key and salt")
    return suite


class SessionKeys:
    """Session keys of one protocol (RFC 3711 section 4.3.1), derivation rate 0; label 0 is RTP's, 3 RTCP's."""

    # one object for all three: as separate objects, thousands of keys would double their overhead
    __slots__ = ("_cut", "_keys")

    def __init__(self, suite: Suite, master: bytes, label: int) -> None:
        key = master[: suite.key]
        # RFC 7714 section 11: a salt of 12 bytes is padded with zeros
        salt = int.from_bytes(master[suite.key :].ljust(SALT, b"\0"), "big")

        def derive(number: int, size: int) -> bytes:
            start = (salt ^ number << 48) << 16
            return _counter(key, start, bytes(size))

        self._cut = suite.key
        self._keys = derive(label, suite.key) + derive(label + 1, AUTHENTICATION_KEY) + derive(label + 2, suite.salt)

    @property
    def key(self) -> bytes:
        """Return the cipher key."""
        return self._keys[: self._cut]

    @property
    def _salt(self) -> int:
        return int.from_bytes(self._keys[self._cut + AUTHENTICATION_KEY :], "big")

    def tag(self, data: bytes, size: int) -> bytes:
        """Authenticate with HMAC-SHA1 (RFC 2104), truncated to `size` bytes."""
        # by its two hashes: OpenSSL's HMAC spends as much again on look-up and set-up
        key = self._keys[self._cut : self._cut + AUTHENTICATION_KEY]
        inner = sha1(key.translate(_INNER) + _INNER_REST + data, usedforsecurity=False).digest()
        return sha1(key.translate(_OUTER) + _OUTER_REST + inner, usedforsecurity=False).digest()[:size]

    def crypt(self, ssrc: int, index: int, data: bytes) -> bytes:
        """Encrypt or decrypt in counter mode (RFC 3711 section 4.1.1)."""
        keys, cut = self._keys, self._cut
        salt = int.from_bytes(keys[cut + AUTHENTICATION_KEY :], "big")
        return _counter(keys[:cut], (salt ^ ssrc << 48 ^ index) << 16, data)

    def nonce(self, ssrc: int, index: int) -> bytes:
        """Return the nonce of an SRTCP packet in GCM (RFC 7714 section 9.1)."""
        return (self._salt ^ ssrc << 48 ^ index).to_bytes(12, "big")


def _counter(key: bytes, start: int, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(start.to_bytes(16, "big"))).encryptor().update(data)
