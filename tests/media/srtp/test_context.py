"""SRTP contexts against pylibsrtp's own sessions."""

import os

import pytest

from media.errors import UnusableKey
from media.rtp import header
from media.srtp.context import Context, LibEngine, WideEngine
from media.srtp.suites import SUITES

WIDE = ["AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32"]
LIBRARY = [name for name, suite in SUITES.items() if suite.profile is not None]


def sender(name: str, key: bytes) -> LibEngine:
    return LibEngine(SUITES[name], key, inbound=False)


def key_of(name: str) -> bytes:
    return os.urandom(SUITES[name].key + SUITES[name].salt)


@pytest.mark.parametrize("name", [*LIBRARY, *WIDE])
def test_a_walked_context_goes_on_where_another_stopped(name: str) -> None:
    key = key_of(name)
    session, index = sender(name, key), 0
    while index < 5 * 65536 + 900:
        session.protect(header.build(8, index, 0, 1, b"x"))
        index += 0x7000
    context = Context(name, key)
    context.walk(1, 5 * 65536 + 999)
    plain = header.build(8, 5 * 65536 + 1000, 0, 1, b"y" * 160)
    assert context.unprotect(session.protect(plain)) == plain


@pytest.mark.parametrize("name", LIBRARY)
def test_an_mki_is_cut_out(name: str) -> None:
    key, plain = key_of(name), header.build(8, 1, 0, 1, b"y" * 160)
    packet, tag = sender(name, key).protect(plain), SUITES[name].tag
    with_mki = packet + b"\1\2" if SUITES[name].aead else packet[:-tag] + b"\1\2" + packet[-tag:]
    assert Context(name, key, mki=2).unprotect(with_mki) == plain


@pytest.mark.parametrize("name", [*WIDE, "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"])
def test_our_own_counter_mode_agrees_with_libsrtp(name: str) -> None:
    key = key_of(name)
    library, own = sender(name, key), WideEngine(SUITES[name], key)
    context, both = Context(name, key), WideEngine(SUITES[name], key)
    assert context.session is not None  # whole batches go to libsrtp unread
    for number in range(65400, 65700):
        plain = header.build(8, number, number, 1, os.urandom(number % 400))
        packet = library.protect(plain)
        assert own.protect(plain) == packet
        assert context.unprotect(packet) == plain == both.unprotect(packet)
        forged = packet[:-1] + bytes([packet[-1] ^ 1])
        assert isinstance(context.unprotect(forged), int) and isinstance(both.unprotect(forged), int)


def test_an_srtp_key_of_wrong_length_or_suite_is_refused() -> None:
    for name, key in (("AES_CM_128_HMAC_SHA1_80", b"short"), ("NULL", bytes(30))):
        with pytest.raises(UnusableKey):
            Context(name, key)
