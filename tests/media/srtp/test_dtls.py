"""DTLS-SRTP without sockets (duties D1 to D7), against itself and OpenSSL's own program."""

import time
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from media.errors import UnusableKey
from media.srtp.dtls import (
    CHANGE_CIPHER_SPEC,
    FINISHED,
    GIVE_UP,
    HASHES,
    MAX_TRIES,
    MTU,
    Association,
    Identity,
    is_dtls,
    kinds,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
US, PEER = Identity.create(NOW), Identity.create(NOW)
THERE, HERE = ("192.0.2.1", 4000), ("192.0.2.10", 20000)
SECRET = b"s" * 32


def association(active: bool, ours: Identity = US, theirs: Identity = PEER) -> Association:
    return Association(ours, [theirs.fingerprint], active=active, secret=SECRET)


def shake(one: Association, two: Association, lose: frozenset[int] = frozenset()) -> int:
    """Carry datagrams to and fro until nobody has anything to say; wait for timers where some were lost."""
    numbers, sent, end = count(), 0, time.monotonic() + 60
    one.start(0.0)
    two.start(0.0)
    while time.monotonic() < end:
        quiet = True
        for speaker, hearer, source in ((one, two, HERE), (two, one, THERE)):
            for datagram in speaker.data_to_send():
                assert len(datagram) <= MTU
                quiet = False
                sent += 1
                if next(numbers) not in lose:
                    hearer.receive(datagram, source, 0.0)
        if quiet:
            if not lose or (one.keys and two.keys):
                break
            time.sleep(0.05)  # OpenSSL's retransmission timer reads its own clock
            one.handle_timer(0.0)
            two.handle_timer(0.0)
    return sent


def deliver(datagrams: list[bytes], to: Any, source: tuple[str, int], at: float = 0.0) -> None:
    for datagram in datagrams:
        to.receive(datagram, source, at)


def carry(one: Association, two: Association) -> None:
    """Carry what there is from one to the other and back."""
    deliver(one.data_to_send(), two, HERE)
    deliver(two.data_to_send(), one, THERE)


def until_promised(ours: Association, theirs: Association) -> None:
    """Carry datagrams until our last flight waits to be sent."""
    ours.start(0.0)
    theirs.start(0.0)
    while not ours.promised:
        carry(ours, theirs)


@pytest.mark.parametrize("active", [True, False])
def test_keys_are_promised_with_the_last_flight(active: bool) -> None:
    """Until then a handshake is midway, on the server's side from its hello on."""
    ours, theirs = association(active), association(not active, PEER, US)
    seen = []
    ours.start(0.0)
    theirs.start(0.0)
    while not ours.promised:
        seen.append(ours.midway)
        carry(ours, theirs)
    assert (seen, ours.midway) == ([True, True] if active else [False, False, True], False)
    assert ours.keys == (None if active else ours.promised)
    assert list(ours.last_flight) != []
    carry(ours, theirs)
    assert ours.keys is not None and theirs.keys is not None
    deliver([*theirs.last_flight, b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28"], ours, THERE)  # repeated; an alert
    assert ours.promised == ours.keys
    assert (ours.keys.ours, ours.keys.theirs) == (theirs.keys.theirs, theirs.keys.ours)


@pytest.mark.parametrize("active", [True, False])
def test_a_handshake_gives_both_ends_the_same_keys_d1_d3(active: bool) -> None:
    """Duty D5."""
    ours, theirs = association(active), association(not active, PEER, US)
    shake(ours, theirs)
    assert ours.keys is not None and theirs.keys is not None
    assert ours.keys.suite == "AEAD_AES_256_GCM"
    assert (ours.keys.theirs, ours.keys.ours) == (theirs.keys.ours, theirs.keys.theirs)
    assert len(ours.keys.theirs) == 44 and ours.keys.theirs != ours.keys.ours
    assert ours.next_timer() is None
    assert ours.keys.theirs.hex() not in repr(ours.keys) and "theirs" not in repr(ours.keys)


@pytest.mark.parametrize("active", [True, False])
def test_a_certificate_that_was_not_offered_gives_no_keys_d2(active: bool) -> None:
    ours = association(active)
    shake(ours, stranger(not active))
    assert (ours.keys, ours.promised, ours.tries, ours.midway) == (None, None, 1, False)
    assert ours.failed == ("fingerprint" if active else None)


def test_strangers_do_not_keep_the_genuine_peer_out() -> None:
    """They are listened to a few times only."""
    ours = association(False)
    for _ in range(MAX_TRIES - 1):
        shake(stranger(), ours)
        assert ours.keys is None and ours.failed is None
    shake(association(True, PEER, US), ours)
    assert ours.keys is not None
    other = association(False)
    for _ in range(MAX_TRIES):
        shake(stranger(), other)
    assert other.failed == "fingerprint"


def stranger(active: bool = True) -> Association:
    """Make the end of somebody whose certificate was not offered."""
    return Association(Identity.create(NOW), [US.fingerprint], active=active, secret=SECRET)


def test_any_fingerprint_of_the_strongest_hash_is_accepted() -> None:
    other = Identity.create(NOW).fingerprint
    weak = "SHA-1 " + PEER.certificate.fingerprint(HASHES["sha-1"]).hex(":")
    for offered, accepted in (([other, PEER.fingerprint], True), ([weak], True), ([weak, other], False)):
        ours = Association(US, offered, active=True, secret=SECRET)
        shake(ours, association(False, PEER, US))
        assert (ours.keys is not None, ours.failed) == (accepted, None if accepted else "fingerprint")


@pytest.mark.parametrize("offered", [[], ["md5 AA:BB"], ["sha-256"], ["nonsense"]])
def test_without_a_usable_fingerprint_there_is_no_association(offered: list[str]) -> None:
    with pytest.raises(UnusableKey):
        Association(US, offered, active=True, secret=SECRET)


@pytest.mark.parametrize("lose", [frozenset({1}), frozenset({4})])
def test_a_lost_flight_is_retransmitted_d7(lose: frozenset[int]) -> None:
    ours, theirs = association(False), association(True, PEER, US)
    shake(ours, theirs, lose)
    assert ours.keys and theirs.keys


def test_a_client_hello_from_a_spoofed_address_costs_nothing_d7() -> None:
    ours, theirs = association(False), association(True, PEER, US)
    theirs.start(0.0)
    (hello,) = theirs.data_to_send()
    ours.receive(hello, THERE, 0.0)
    (cookie,) = ours.data_to_send()
    assert len(cookie) < 2 * len(hello) and cookie[13] == 3  # HelloVerifyRequest: nothing to amplify
    theirs.receive(cookie, HERE, 0.0)
    *_, again = theirs.data_to_send()  # the first flight once more where this machine stood still for a second
    ours.receive(again, ("198.51.100.9", 9), 0.0)  # the cookie was another's
    assert all(datagram[13] == 3 for datagram in ours.data_to_send())
    ours.receive(again, THERE, 0.0)
    assert all(datagram[13] == 2 for datagram in ours.data_to_send()[:1])  # ServerHello


def test_silence_is_given_up_in_the_end() -> None:
    ours = association(True)
    ours.start(0.0)
    assert ours.next_timer() is not None and 0 < ours.next_timer() <= 1.0  # type: ignore[operator]  # just compared
    ours.handle_timer(GIVE_UP)
    assert (ours.failed, ours.next_timer()) == ("timeout", None)
    promising = association(True)
    until_promised(promising, association(False, PEER, US))
    promising.handle_timer(GIVE_UP)
    assert [promising.failed, promising.keys, promising.promised] == ["timeout", None, None]


def test_the_first_byte_tells_dtls_from_its_neighbours_d4() -> None:
    kinds = {first: is_dtls(bytes([first]) + bytes(40)) for first in (0, 3, 19, 20, 22, 63, 64, 128, 191)}
    assert [first for first, dtls in kinds.items() if dtls] == [20, 22, 63]
    ours = association(False)
    ours.start(0.0)
    deliver([b"", b"\x16", b"\x80" * 200, b"\x16" * 5000], ours, THERE)
    assert ours.data_to_send() == [] and ours.failed is None


@pytest.mark.parametrize(
    ("ciphers", "profiles"),
    [
        (b"ECDHE+AESGCM", b"SRTP_NULL_SHA1_80"),
        (b"ECDHE+AESGCM", b""),
        (b"NULL:eNULL:aNULL@SECLEVEL=0", b"SRTP_AES128_CM_SHA1_80"),
    ],
)
def test_null_ciphers_and_missing_profiles_give_no_keys_d3(ciphers: bytes, profiles: bytes) -> None:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_privatekey(PEER.key)
    context.use_certificate(PEER.certificate)
    context.set_cipher_list(ciphers)
    if profiles:
        try:
            context.set_tlsext_use_srtp(profiles)
        except SSL.Error:
            pass  # OpenSSL itself does not know the NULL profiles any more: then none is offered
    client = SSL.Connection(context, None)
    client.set_ciphertext_mtu(MTU)
    client.set_connect_state()
    ours = association(False)
    ours.start(0.0)
    for _ in range(6):
        try:
            client.do_handshake()
        except SSL.Error:
            pass
        try:
            ours.receive(client.bio_read(4096), THERE, 0.0)
        except SSL.Error:
            break
        for datagram in ours.data_to_send():
            client.bio_write(datagram)
    assert ours.keys is None and ours.tries == 1


def test_an_identity_survives_a_restart() -> None:
    again = Identity.from_bytes(bytes(US))
    assert again.fingerprint == US.fingerprint
    with pytest.raises(UnusableKey):
        Identity.from_bytes(b"no key")


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=200).map(lambda tail: b"\x16\xfe\xfd" + tail), max_size=6))
def test_any_bytes_leave_an_association_alive_or_failed(datagrams: list[bytes]) -> None:
    ours = association(False)
    ours.start(0.0)
    deliver(datagrams, ours, THERE)
    assert ours.keys is None


# A foreign implementation.


def test_dtls_records_are_classified_by_type_and_epoch() -> None:
    record = b"\x16\xfe\xfd\0\1" + bytes(6) + b"\0\2ab"
    assert kinds(b"\x14\xfe\xfd" + bytes(8) + b"\0\1\1" + record) == {CHANGE_CIPHER_SPEC, FINISHED}
    assert kinds(record[:12]) == set() and kinds(record + b"\x16" + bytes(11)) == {FINISHED}
