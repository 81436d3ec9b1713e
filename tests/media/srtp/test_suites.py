"""Key derivation against the published vectors."""

import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from media.srtp.suites import SUITES, SessionKeys

# RFC 3711 appendix B.3
MASTER = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6")


def test_the_session_keys_of_rfc_3711_come_out() -> None:
    keys = SessionKeys(SUITES["AES_CM_128_HMAC_SHA1_80"], MASTER, 0)
    authentication = bytes.fromhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
    assert keys.key == bytes.fromhex("C61E7A93744F39EE10734AFE3FF7A087")
    assert keys.tag(b"packet", 20) == hmac.digest(authentication, b"packet", "sha1")
    start = bytes.fromhex("30CBBC08863D8C85D49DB34A9AE1") + bytes(2)  # the salt, for source and index 0
    stream = Cipher(algorithms.AES(keys.key), modes.CTR(start)).encryptor().update(bytes(32))
    assert keys.crypt(0, 0, bytes(32)) == stream


def test_lengths_are_those_of_the_rfcs() -> None:
    """Duty C3."""
    assert {name: suite.key + suite.salt for name, suite in SUITES.items()} == {
        "AES_CM_128_HMAC_SHA1_80": 30, "AES_CM_128_HMAC_SHA1_32": 30,
        "AES_256_CM_HMAC_SHA1_80": 46, "AES_256_CM_HMAC_SHA1_32": 46,
        "AES_192_CM_HMAC_SHA1_80": 38, "AES_192_CM_HMAC_SHA1_32": 38,
        "AEAD_AES_128_GCM": 28, "AEAD_AES_256_GCM": 44,
    }  # fmt: skip
    assert {suite.rtcp_tag for suite in SUITES.values()} == {10, 16}
