"""SRTCP of every suite: libsrtp opens what we protect, we open what it protects, once."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from media.errors import UnusableKey
from media.srtp.srtcp import AUTHENTICATION, MAX_SOURCES, REPLAYED, Srtcp
from media.srtp.suites import SUITES, SessionKeys

#: The suites that pylibsrtp has by itself.
PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
REPORT = b"\x81\xc9\0\7" + b"\x12\x34\x56\x78" + bytes(range(24))


def key_of(name: str) -> bytes:
    return os.urandom(SUITES[name].key + SUITES[name].salt)


def peer(name: str, key: bytes, *, inbound: bool) -> Session:
    kind = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
    return Session(Policy(key=key, ssrc_type=kind, srtp_profile=PROFILES[name]))


@pytest.mark.parametrize("name", PROFILES)
def test_we_and_the_library_open_each_others_reports_once(name: str) -> None:
    key = key_of(name)
    ours, opener, sender = Srtcp(name, key), peer(name, key, inbound=True), peer(name, key, inbound=False)
    assert [opener.unprotect_rtcp(ours.protect(REPORT)) for _ in range(3)] == [REPORT] * 3
    packets = [sender.protect_rtcp(REPORT) for _ in range(3)]
    assert [ours.unprotect(packet) for packet in packets] == [REPORT] * 3
    assert [ours.unprotect(packet) for packet in packets] == [REPLAYED] * 3


@pytest.mark.parametrize("name", SUITES)
def test_a_successor_goes_on_behind_the_index_it_is_given(name: str) -> None:
    key = key_of(name)
    opener, before = Srtcp(name, key), Srtcp(name, key)
    assert [opener.unprotect(before.protect(REPORT)) for _ in range(5)] == [REPORT] * 5
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


def test_a_genuine_report_that_is_not_encrypted_is_refused() -> None:
    """RFC 3711 section 3.4: the bit before the index says so, and the tag is right."""
    name = "AES_CM_128_HMAC_SHA1_80"
    key, plain = key_of(name), REPORT + (7).to_bytes(4, "big")
    assert Srtcp(name, key).unprotect(plain + SessionKeys(SUITES[name], key, 3).tag(plain, 10)) == AUTHENTICATION


def test_srtcp_sources_are_separate_and_bounded() -> None:
    name = "AES_CM_128_HMAC_SHA1_80"
    key = key_of(name)
    ours, sent = Srtcp(name, key), list[bytes]()
    for ssrc in range(MAX_SOURCES + 1):
        report = REPORT[:4] + ssrc.to_bytes(4, "big") + REPORT[8:]
        sent.append(Srtcp(name, key).protect(report))
        assert ours.unprotect(sent[-1]) == report
    assert [ours.unprotect(each) == REPLAYED for each in (sent[0], sent[-1])] == [False, True]


def test_an_srtcp_key_of_wrong_length_or_suite_is_refused() -> None:
    for name, key in (("AES_CM_128_HMAC_SHA1_80", b"short"), ("NULL", bytes(30))):
        with pytest.raises(UnusableKey):
            Srtcp(name, key)


@given(st.binary(max_size=80), st.sampled_from(sorted(SUITES)))
def test_any_bytes_are_refused(noise: bytes, name: str) -> None:
    assert Srtcp(name, bytes(SUITES[name].key + SUITES[name].salt)).unprotect(noise) == AUTHENTICATION
