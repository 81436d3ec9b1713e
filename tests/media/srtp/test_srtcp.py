"""SRTCP of every suite: libsrtp opens what we protect, we open what it protects, once."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from media.errors import UnusableKey
from media.srtp.srtcp import AUTHENTICATION, ENCRYPTED, MAX_SOURCES, REPLAYED, Srtcp
from media.srtp.suites import SUITES

LIBRARY = [name for name, suite in SUITES.items() if suite.profile is not None]
REPORT = b"\x81\xc9\0\7" + b"\x12\x34\x56\x78" + bytes(range(24))


def key_of(name: str) -> bytes:
    return os.urandom(SUITES[name].key + SUITES[name].salt)


def peer(name: str, key: bytes, kind: int) -> Session:
    return Session(Policy(key=key, ssrc_type=kind, srtp_profile=SUITES[name].profile))


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_opens_what_we_protect(name: str) -> None:
    key = key_of(name)
    ours, theirs = Srtcp(name, key), peer(name, key, Policy.SSRC_ANY_INBOUND)
    assert [theirs.unprotect_rtcp(ours.protect(REPORT)) for _ in range(3)] == [REPORT] * 3


@pytest.mark.parametrize("name", LIBRARY)
def test_we_open_what_the_library_protects_and_only_once(name: str) -> None:
    key = key_of(name)
    ours, theirs = Srtcp(name, key), peer(name, key, Policy.SSRC_ANY_OUTBOUND)
    packets = [theirs.protect_rtcp(REPORT) for _ in range(3)]
    assert [ours.unprotect(packet) for packet in packets] == [REPORT] * 3
    assert [ours.unprotect(packet) for packet in packets] == [REPLAYED] * 3


@pytest.mark.parametrize("name", SUITES)
def test_a_successor_goes_on_behind_the_index_it_is_given(name: str) -> None:
    key = key_of(name)
    opener, before = Srtcp(name, key), Srtcp(name, key)
    for _ in range(5):
        assert opener.unprotect(before.protect(REPORT)) == REPORT
    after = Srtcp(name, key, before.index + 2)
    assert opener.unprotect(after.protect(REPORT)) == REPORT
    assert opener.unprotect(Srtcp(name, key).protect(REPORT)) == REPLAYED


@pytest.mark.parametrize("name", SUITES)
def test_no_bit_can_be_changed_and_no_byte_cut(name: str) -> None:
    key = key_of(name)
    packet = Srtcp(name, key).protect(REPORT)
    for bit in range(8 * len(packet)):
        altered = bytearray(packet)
        altered[bit // 8] ^= 1 << bit % 8
        assert Srtcp(name, key).unprotect(bytes(altered)) == AUTHENTICATION
    assert all(Srtcp(name, key).unprotect(packet[:size]) == AUTHENTICATION for size in range(len(packet)))


@pytest.mark.parametrize("name", ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"])
def test_a_genuine_report_that_is_not_encrypted_is_refused(name: str) -> None:
    key = key_of(name)
    ours = Srtcp(name, key)
    session = ours._session()
    word = (7).to_bytes(4, "big")
    plain = REPORT + word + session.tag(REPORT + word, 10)
    assert ours.unprotect(plain) == AUTHENTICATION
    assert ENCRYPTED >> 31 == 1


def test_srtcp_sources_are_separate_and_bounded() -> None:
    key = key_of("AES_CM_128_HMAC_SHA1_80")
    ours = Srtcp("AES_CM_128_HMAC_SHA1_80", key)
    for ssrc in range(3 * MAX_SOURCES):
        report = REPORT[:4] + ssrc.to_bytes(4, "big") + REPORT[8:]
        assert ours.unprotect(Srtcp("AES_CM_128_HMAC_SHA1_80", key).protect(report)) == report
    assert len(ours._seen or {}) <= MAX_SOURCES


def test_an_srtcp_key_of_wrong_length_or_suite_is_refused() -> None:
    for name, key in (("AES_CM_128_HMAC_SHA1_80", b"short"), ("NULL", bytes(30))):
        with pytest.raises(UnusableKey):
            Srtcp(name, key)


@given(st.binary(max_size=80), st.sampled_from(sorted(SUITES)))
def test_any_bytes_are_refused(noise: bytes, name: str) -> None:
    assert Srtcp(name, bytes(SUITES[name].key + SUITES[name].salt)).unprotect(noise) == AUTHENTICATION
