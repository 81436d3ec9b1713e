"""SDES lines: which may be answered, and how."""

import base64
import os

import pytest

from sip.sdp.sdes import SUITES, CryptoOffer, UnusableCrypto, canonical
from sip.sdp.writer import crypto

KEY = bytes(range(30))
INLINE = base64.b64encode(KEY).decode()
SUITE = "AES_CM_128_HMAC_SHA1_80"


def read(tail: str, suite: str = SUITE) -> CryptoOffer:
    return CryptoOffer.parse(f"1 {suite} {tail}")


def test_a_plain_line() -> None:
    offer = CryptoOffer.parse(f"7 {SUITE} inline:{INLINE}")
    assert (offer.tag, offer.suite, offer.key, offer.mki, offer.mki_length, offer.lifetime) == (
        7,
        SUITE,
        KEY,
        None,
        0,
        None,
    )


@pytest.mark.parametrize(
    ("tail", "lifetime", "mki"),
    [
        ("|2^20", 1 << 20, None),
        ("|2^31|1:4", 1 << 31, b"\0\0\0\1"),
        ("|1048576|66051:3", 1_048_576, b"\1\2\3"),
        ("|1:1", None, b"\1"),
        ("|2^99", None, None),
        ("|0", None, None),
        ("|forever", None, None),
    ],
)
def test_lifetime_and_key_identifier(tail: str, lifetime: int | None, mki: bytes | None) -> None:
    """Duty C5."""
    offer = read(f"inline:{INLINE}{tail}")
    assert (offer.lifetime, offer.mki, offer.mki_length) == (lifetime, mki, len(mki or b""))


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_has_its_key_length(suite: str) -> None:
    """Duty C3."""
    key = os.urandom(SUITES[suite])
    text = base64.b64encode(key).decode()
    assert read(f"inline:{text}", suite).key == read(f"inline:{text.rstrip('=')}", suite).key == key
    with pytest.raises(UnusableCrypto, match="crypto-key-length"):
        read(f"inline:{base64.b64encode(key[:-1]).decode()}", suite)


def test_the_answer_repeats_tag_suite_and_padding_style() -> None:
    """Duty C2."""
    theirs, ours = os.urandom(28), os.urandom(28)
    padded = base64.b64encode(theirs).decode()
    for text in (padded, padded.rstrip("=")):
        offer = CryptoOffer.parse(f"3 AEAD_AES_128_GCM inline:{text}|2^20|1:4")
        line = crypto(offer.suite, ours, tag=offer.tag, padded=offer.padded)[1].removeprefix("crypto:")
        assert line.startswith("3 AEAD_AES_128_GCM inline:") and line.endswith("=") == text.endswith("=")
        assert CryptoOffer.parse(line).key == ours


def test_the_libsrtp_spelling_is_understood_and_echoed() -> None:
    text = base64.b64encode(bytes(46)).decode()
    offer = read(f"inline:{text}", "AES_CM_256_HMAC_SHA1_80")
    assert canonical(offer.suite) == "AES_256_CM_HMAC_SHA1_80"
    assert crypto(offer.suite, bytes(46))[1].split()[1] == "AES_CM_256_HMAC_SHA1_80"


def test_harmless_session_parameters_are_let_through() -> None:
    assert read(f"inline:{INLINE} -ignorable").tag == read(f"inline:{INLINE} WSH=128").tag == 1
    assert CryptoOffer.parse(f"1 {SUITE} inline:{INLINE} UNENCRYPTED_SRTCP", unencrypted_srtcp=True).tag == 1


def test_several_keys_need_identifiers_of_one_length() -> None:
    """Duty C5."""
    offer = read(f"inline:{INLINE}|2^20|1:4;inline:{INLINE}|2:4")
    assert (offer.mki, [key.mki for key in offer.others]) == (b"\0\0\0\1", [b"\0\0\0\2"])
    for tail in (
        f"inline:{INLINE};inline:{INLINE}",
        f"inline:{INLINE}|1:4;inline:{INLINE}|2:2",
        f"inline:{INLINE}|1:4;inline:{INLINE}|1:4",
    ):
        with pytest.raises(UnusableCrypto, match="crypto-mki"):
            read(tail)


PLAIN = f"1 {SUITE} inline:{INLINE}"
CHANGE_PACKETS = (
    *("KDR=1", "UNENCRYPTED_SRTP", "UNENCRYPTED_SRTCP", "UNAUTHENTICATED_SRTP", "-x UNENCRYPTED_SRTP"),
    *("FEC_ORDER=FEC_SRTP", "FEC_KEY=inline:x", "WSH=4096", "WSH=x", "unknown"),
)


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("crypto", ["", "x", f"1 {SUITE}", f"1 {SUITE} {INLINE}", f"1 {SUITE} inline:", f"a {SUITE} inline:x"]),
        ("crypto-suite", [PLAIN.replace(SUITE, suite) for suite in ("NULL_HMAC_SHA1_80", "F8_128_HMAC_SHA1_80", "X")]),
        ("crypto-parameter", [f"{PLAIN} {text}" for text in CHANGE_PACKETS]),
        ("crypto-mki", [f"{PLAIN}|2^20|{mki}" for mki in ("1:0", "1:129", "256:1", "x:4", "1:", ":4")]),
    ],
)
def test_an_invalid_crypto_line_is_unusable(code: str, lines: list[str]) -> None:
    """Duties C3, C6."""
    for line in lines:
        with pytest.raises(UnusableCrypto, match=code):
            CryptoOffer.parse(line)


def test_the_repr_of_a_crypto_line_hides_its_keys() -> None:
    assert repr(KEY)[2:12] not in repr(read(f"inline:{INLINE}|1:4;inline:{INLINE}|2:4"))
