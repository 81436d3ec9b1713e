"""SRTP contexts against pylibsrtp's own sessions."""

import os

import pytest

from media.errors import UnusableKey
from media.rtp import header
from media.srtp.context import Aes192Engine, Context, Engine
from media.srtp.suites import SUITES


def sender(name: str, key: bytes) -> Engine | Aes192Engine:
    suite = SUITES[name]
    return Engine(suite, key, inbound=False) if suite.policy else Aes192Engine(suite, key)


def key_of(name: str) -> bytes:
    return os.urandom(SUITES[name].key + SUITES[name].salt)


def reached(session: Engine | Aes192Engine, rollover: int) -> None:
    """Have a sender reach sequence number 900 of a rollover counter."""
    for index in range(0, rollover * 65536 + 900, 0x7000):
        session.protect(header.build(8, index & 0xFFFF, 0, 1, b"x"))


@pytest.mark.parametrize("name", SUITES)
def test_a_context_goes_on_where_another_stopped(name: str) -> None:
    key = key_of(name)
    session = sender(name, key)
    reached(session, 5)
    context = Context(name, key)
    context.go_on_after(1, 5 * 65536 + 999)
    plain = header.build(8, 1000, 0, 1, b"y" * 160)
    assert context.unprotect(session.protect(plain)) == plain


@pytest.mark.parametrize(("sequence", "rollover"), [(65_500, 3), (5, 4)])
def test_a_context_goes_on_across_the_next_rollover(sequence: int, rollover: int) -> None:
    """The first packet after a restart may already have the next counter, and one that it overtook the old one."""
    name, key = "AES_CM_128_HMAC_SHA1_80", key_of("AES_CM_128_HMAC_SHA1_80")
    session = sender(name, key)
    session.begin_at(SUITES[name], key, 1, 3)
    context = Context(name, key)
    context.go_on_after(1, 3 * 65536 + 65_490)
    plain = [header.build(8, number & 0xFFFF, 0, 1, b"y" * 160) for number in range(65_491, 65_560)]
    wire = [session.protect(packet) for packet in plain]
    first = (rollover * 65536 + sequence) - (3 * 65536 + 65_491)
    for n in (first, first - 9, first + 1):
        assert context.unprotect(wire[n]) == plain[n]


@pytest.mark.parametrize("name", SUITES)
def test_a_rollover_found_mid_call_also_opens_overtaken_packets(name: str) -> None:
    key = key_of(name)
    session = sender(name, key)
    reached(session, 7)
    plain = [header.build(8, number, 0, 1, b"y" * 160) for number in range(1000, 1100)]
    wire = [session.protect(packet) for packet in plain]
    context = Context(name, key)
    assert isinstance(context.unprotect(wire[99]), int)
    found = context.find_rollover(wire[99])
    assert found is not None and found[1:] == (7, plain[99])
    assert [found[0].unprotect(packet) for packet in wire[:99]] == plain[:99]
    if SUITES[name].policy:
        assert isinstance(found[0].unprotect(wire[99]), int), "a replay"


@pytest.mark.parametrize("name", SUITES)
def test_an_mki_is_cut_out(name: str) -> None:
    key, plain = key_of(name), header.build(8, 1, 0, 1, b"y" * 160)
    packet, tag = sender(name, key).protect(plain), SUITES[name].tag
    with_mki = packet + b"\1\2" if SUITES[name].aead else packet[:-tag] + b"\1\2" + packet[-tag:]
    assert Context(name, key, mki=2).unprotect(with_mki) == plain


@pytest.mark.parametrize("name", SUITES)
def test_a_whole_rollover_opens_and_forgeries_do_not(name: str) -> None:
    key = key_of(name)
    library, context = sender(name, key), Context(name, key)
    assert (context.session is not None) == bool(SUITES[name].policy)  # whole batches go to libsrtp unread
    for number in range(65400, 65700):
        plain = header.build(8, number & 0xFFFF, number, 1, os.urandom(number % 400))
        packet = library.protect(plain)
        assert context.open_at(packet, number) == plain
        assert isinstance(context.unprotect(packet[:-1] + bytes([packet[-1] ^ 1])), int)
        assert context.unprotect(packet) == plain


def test_an_srtp_key_of_wrong_length_or_suite_is_refused() -> None:
    for name, key in (("AES_CM_128_HMAC_SHA1_80", b"short"), ("NULL", bytes(30))):
        with pytest.raises(UnusableKey):
            Context(name, key)
