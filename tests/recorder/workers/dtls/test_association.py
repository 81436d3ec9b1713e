"""The handshakes of one stream without sockets: who is heard, what is begun again, which keys go where."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.spec import Dtls, StreamSpec
from media.srtp.dtls import GIVE_UP, MAX_TRIES, Association, Identity
from recorder.workers.dtls_association import (
    LEARN_AFTER,
    RENEWAL_DELAY,
    RETRY_DELAY,
    STALL,
    START_DELAY,
    Handshake,
    Left,
    begin,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
US, SBC, OTHER = (Identity.create(NOW) for _ in range(3))
THERE = (bytes([192, 0, 2, 1]), 4000)
NEXT_DOOR = (THERE[0], 4321)
ELSEWHERE = (bytes([192, 0, 2, 77]), 5000)
STRANGER = (bytes([203, 0, 113, 5]), 6000)
SECRET = bytes(32)


def spec(
    *, active: bool = True, mux: bool = True, networks: tuple[str, ...] = ("192.0.2.0/24",), **changes: Any
) -> StreamSpec:
    """Describe a stream; `changes` are made to its association."""
    dtls = replace(Dtls((SBC.fingerprint,), None, active, bytes(US), rtp=True, rtcp=not mux), **changes)
    return StreamSpec(
        0, source=("192.0.2.1", 4000), rtcp_source=("192.0.2.1", 4001), networks=networks, rtcp_mux=mux, dtls=dtls
    )


def made(**more: Any) -> Handshake:
    found = begin(spec(**more), SECRET)
    assert found is not None
    return found


def peer(active: bool, who: Identity = SBC) -> Association:
    return Association(who, [US.fingerprint], active=active, secret=bytes(32))


def turned(one: Handshake, *moments: float) -> Handshake:
    """Let time pass; by default until our first flight is due."""
    for now in moments or (0.0, 1.0):
        one.turn(now)
    return one


def met(*, active: bool = True, **more: Any) -> tuple[Handshake, Association]:
    """Give our end and a peer's when both have begun."""
    one, theirs = turned(made(active=active, **more)), peer(not active)
    theirs.start(0.0)
    return one, theirs


def targets(one: Handshake) -> list[tuple[str, int]]:
    """Say where our datagrams go."""
    return [target for _, _, target in one.data_to_send()]


def shake(
    ours: Handshake, theirs: Association, now: float, rtcp: bool = False, sender: tuple[bytes, int] = THERE
) -> None:
    """Carry datagrams to and fro on one port until nobody has anything to say."""
    for _ in range(12):
        for port, datagram, _ in ours.data_to_send():
            if port == rtcp:
                theirs.receive(datagram, ("192.0.2.10", 20000), now)
        for datagram in theirs.data_to_send():
            ours.receive(rtcp, datagram, sender, now)


def test_our_first_flight_waits_for_our_answer_to_arrive() -> None:
    one = turned(made(), 100.0, 100.0 + START_DELAY / 2)
    assert one.data_to_send() == []
    ((rtcp, datagram, target),) = turned(one, 100.0 + START_DELAY).data_to_send()
    assert (rtcp, datagram[0], target) == (False, 22, ("192.0.2.1", 4000))


@pytest.mark.parametrize("active", [True, False])
def test_keys_go_into_the_spec_both_ways_d3(active: bool) -> None:
    one, theirs = met(active=active)
    shake(one, theirs, 1.0)
    assert not one.waits() and theirs.keys is not None
    keyed = one.keyed(spec(active=active))
    assert (keyed.suite, keyed.key, keyed.own_key) == (theirs.keys.suite, theirs.keys.ours, theirs.keys.theirs)
    assert keyed.rtcp_suite is None


def test_only_a_client_in_its_network_gets_a_reply() -> None:
    one, theirs = met(active=False)
    for datagram in theirs.data_to_send():
        one.receive(False, datagram, STRANGER, 0.0)
        assert one.data_to_send() == [] and one.waits()
        one.receive(False, datagram, ELSEWHERE, 0.0)
    assert targets(one) == [("192.0.2.77", 5000)]


def forged(number: int) -> bytes:
    """Make what strangers send in the name of a peer: answers, greetings, alerts, ciphertext."""
    body = (b"\2\0\0\x26\0\0\0\0\0\0\0\x26\xfe\xfd" + bytes(36), b"\3" + bytes(30), b"\2\x28", b"\x0b" + bytes(90))[
        number % 4
    ]
    kind = 21 if number % 4 == 2 else 22
    return bytes((kind, 0xFE, 0xFD)) + bytes(2) + number.to_bytes(6, "big") + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize("sender", [NEXT_DOOR, ELSEWHERE])
@pytest.mark.parametrize("active", [True, False])
def test_strangers_in_the_name_of_the_peer_do_not_disturb_it(active: bool, sender: tuple[bytes, int]) -> None:
    """They can write its address on a datagram, but do not know its port; a cookie never reaches them."""
    (one, theirs), number = met(active=active), 0
    for _ in range(12):
        for _, datagram, target in one.data_to_send():
            if target == ("192.0.2.1", 4000):
                theirs.receive(datagram, ("192.0.2.10", 20000), 1.0)
        for datagram in [*theirs.data_to_send(), b""]:
            for _ in range(8):
                one.receive(False, forged(number), sender, 1.0)
                number += 1
            one.receive(False, datagram, THERE, 1.0)
    assert one.keys and theirs.keys


def test_a_client_answering_from_elsewhere_is_finally_accepted() -> None:
    one, theirs = made(), peer(False)
    theirs.start(0.0)
    for now in (0.0, START_DELAY):
        one.turn(now)
    for _, datagram, _ in one.data_to_send():
        theirs.receive(datagram, ("192.0.2.10", 20000), START_DELAY)
    answers = theirs.data_to_send()
    for late in (START_DELAY, START_DELAY + LEARN_AFTER):
        assert one.data_to_send() == []
        for datagram in answers:
            one.receive(False, datagram, NEXT_DOOR, late)
    shake(one, theirs, START_DELAY + LEARN_AFTER, sender=NEXT_DOOR)
    assert one.keys


@pytest.mark.parametrize(("waited", "kept"), [(STALL - 1, False), (STALL, True)])
def test_an_unfinished_handshake_gives_way_to_another_client(waited: float, kept: bool) -> None:
    one, first = made(active=False), peer(True, OTHER)
    one.turn(0.0)
    first.start(0.0)
    for _ in range(2):  # to the cookie and back
        for datagram in first.data_to_send():
            one.receive(False, datagram, ELSEWHERE, 0.0)
        for _, datagram, _ in one.data_to_send()[:1]:
            first.receive(datagram, ("192.0.2.10", 20000), 0.0)
    theirs = peer(True)
    theirs.start(waited)
    shake(one, theirs, waited, sender=NEXT_DOOR)
    assert bool(one.keys) == kept


@pytest.mark.parametrize("networks", [(), ("192.0.2.0/24",)])
def test_a_client_at_the_offered_address_is_preferred(networks: tuple[str, ...]) -> None:
    """Somebody else may send our cookie back first and say nothing more, again and again."""
    one, stranger = made(active=False, networks=networks), STRANGER if not networks else ELSEWHERE
    theirs = peer(True)

    def carried(who: Association, sender: tuple[bytes, int]) -> None:
        for datagram in who.data_to_send():
            one.receive(False, datagram, sender, 0.0)
        for _, datagram, target in one.data_to_send():
            if target[1] == sender[1]:
                who.receive(datagram, ("192.0.2.10", 20000), 0.0)

    def held() -> None:
        wrong = peer(True, OTHER)
        wrong.start(0.0)
        carried(wrong, stranger)
        carried(wrong, stranger)

    one.turn(0.0)
    held()
    theirs.start(0.0)
    for _ in range(6):
        carried(theirs, THERE)
        held()
    assert one.keys and theirs.keys and not one.waits()


def test_a_foreign_packet_does_not_redirect_our_flights() -> None:
    one = turned(made(networks=()))
    one.data_to_send()
    one.receive(False, b"\x16\xfe\xfd" + bytes(10) + b"\2" + bytes(20), STRANGER, 1.0)
    assert set(targets(turned(one, 2.0, 3.0))) <= {("192.0.2.1", 4000)}


def test_a_reoffer_may_say_where_the_peer_is_only_then() -> None:
    held = begin(replace(spec(), source=None), SECRET)
    assert held is not None
    assert targets(turned(held)) == []  # c=0.0.0.0: nowhere to send it
    one = made()
    one.aim(replace(spec(), source=("192.0.2.9", 4100)))
    one.aim(replace(spec(), source=None))
    assert targets(turned(one)) == [("192.0.2.9", 4100)]


def test_a_wrong_server_certificate_ends_the_handshake_d2() -> None:
    one, now = made(), 0.0
    for _ in range(MAX_TRIES + 1):
        one.turn(now)
        now += RETRY_DELAY + START_DELAY
        one.turn(now)
        wrong = peer(False, OTHER)
        wrong.start(now)
        shake(one, wrong, now)
        one.turn(now)
    assert (one.failed, one.waits(), one.keys) == ("fingerprint", False, {})


def test_it_is_given_up_some_time() -> None:
    one = turned(made(active=False), 5.0, 5.0 + GIVE_UP - 1)
    assert one.waits()
    turned(one, 5.0 + GIVE_UP)
    assert (one.failed, one.waits()) == ("timeout", False)


def test_no_handshake_begins_without_need_or_fingerprint() -> None:
    assert begin(replace(spec(), dtls=None), SECRET) is None
    assert begin(spec(rtp=False), SECRET) is None
    assert begin(spec(fingerprints=("md5 00",)), SECRET) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=8), st.booleans())
def test_fuzz_any_bytes_from_a_neighbour_do_no_harm(datagrams: list[bytes], active: bool) -> None:
    one = made(active=active)
    turned(one)
    one.data_to_send()
    for datagram in datagrams:
        one.receive(False, b"\x16\xfe\xfd" + datagram, THERE, 1.0)
        one.turn(1.0)
    assert one.keys == {} and one.waits()


def carry(ours: Handshake, theirs: Association, now: float) -> None:
    """Carry what there is once to and once fro."""
    for _, datagram, _ in ours.data_to_send():
        theirs.receive(datagram, ("192.0.2.10", 20000), now)
    for datagram in theirs.data_to_send():
        ours.receive(False, datagram, THERE, now)


def until_keyed(ours: Handshake, theirs: Association) -> None:
    while not ours.keys:
        carry(ours, theirs, 1.0)


def stored(dead: Handshake, *, proven: bool = False) -> dict[bool, Left]:
    """What a worker leaves, as a successor reads it."""
    return {rtcp: Left.from_state(json.loads(json.dumps(each.to_state()))) for rtcp, each in dead.left(proven).items()}


@pytest.mark.parametrize("active", [True, False])
def test_a_successor_sends_the_stored_last_flight(active: bool) -> None:
    dead, theirs = met(active=active)
    until_keyed(dead, theirs)
    one = begin(spec(active=active), SECRET, stored(dead))
    assert one is not None and not one.severed
    assert one.keyed(spec(active=active)) == dead.keyed(spec(active=active))
    assert one.waits() is active and (one.agreed() == {}) is active
    one.turn(2.0)
    if not active:  # the client has the flight before it again
        time.sleep(1.1)  # OpenSSL's retransmission timer reads its own clock
        theirs.handle_timer(2.0)
    shake(one, theirs, 2.0)
    assert theirs.keys is not None and not one.waits()
    assert (one.keyed(spec(active=active)).key, one.agreed()) == (theirs.keys.ours, dead.keys)


def test_a_flight_no_longer_needed_is_not_stored() -> None:
    dead, theirs = met(active=False)
    shake(dead, theirs, 0.0)
    (before,), (after,) = stored(dead).values(), stored(dead, proven=True).values()
    assert before.stored and after.stored
    assert (len(before.stored.flight), after.stored.flight) == (1, ())
    assert before.stored.keys == after.stored.keys


def test_media_tell_nothing_of_the_rtcp_port() -> None:
    dead = made(active=False, mux=False)
    dead.turn(0.0)
    for rtcp in (False, True):
        theirs = peer(True)
        theirs.start(0.0)
        shake(dead, theirs, 0.0, rtcp)
    left = stored(dead, proven=True)
    assert [bool(each.stored and each.stored.flight) for each in (left[False], left[True])] == [False, True]


def test_the_state_of_another_association_is_not_used() -> None:
    dead, theirs = met(active=False)
    shake(dead, theirs, 0.0)
    one = begin(spec(active=False, tls_id="another"), SECRET, stored(dead))
    assert one is not None and one.waits() and not one.keys and not one.severed
    assert begin(spec(active=False, tls_id="another", rtp=False), SECRET, stored(dead)) is None


@pytest.mark.parametrize("active", [True, False])
def test_a_cut_handshake_waits_for_the_reoffer(active: bool) -> None:
    dead, theirs = met(active=active)
    for _ in range(2):
        carry(dead, theirs, 1.0)
        if dead.left(False):
            break
    wanted = spec(active=active)
    assert wanted.dtls is not None and stored(dead) == {False: Left(wanted.dtls.name)}
    for renews, wait in ((False, START_DELAY), (True, RENEWAL_DELAY)):
        one, fresh = begin(spec(active=active, renews=renews), SECRET, stored(dead)), peer(not active)
        assert one is not None and one.severed and one.waits()
        assert stored(one) == stored(dead)  # for a successor's successor
        fresh.start(10.0)
        hello = fresh.data_to_send()
        said = []
        for now in (10.0, 10.0 + wait - 0.01, 10.0 + wait):
            one.turn(now)
            for datagram in hello:
                one.receive(False, datagram, THERE, now)
            said.append(len(one.data_to_send()))
        assert said[-1] == 1 and (said[:2] == [0, 0] or not (active or renews))
        shake(one, fresh, 20.0)


@pytest.mark.parametrize("confirmed", [True, False])
def test_media_under_the_keys_show_that_the_server_has_them(confirmed: bool) -> None:
    """A server that never confirms them to our successor is given up."""
    dead, theirs = met()
    dead.proven()
    until_keyed(dead, theirs)
    one = begin(spec(), SECRET, stored(dead))
    assert one is not None and one.waits()
    if confirmed:
        one.proven()
        assert (one.failed, one.waits(), one.agreed()) == (None, False, dead.keys)
    else:
        turned(one, 5.0, 5.0 + GIVE_UP)
        assert (one.failed, one.waits(), one.agreed()) == ("timeout", False, {})


@pytest.mark.parametrize(
    ("how", "begins"),
    [
        ("never", False), ("acknowledged", True), ("re-offer", True), ("called", True), ("other port", False),
        ("server", False),
    ],
)  # fmt: skip
def test_no_handshake_is_begun_before_the_client_is_proven(how: str, begins: bool) -> None:
    """An INVITE may point at anybody, and its ACK shows that whoever sent it has our answer."""
    one = begin(replace(spec(active=how != "server"), reached=False), SECRET)
    assert one is not None
    turned(one, 0.0, START_DELAY, 1.0, 31.0)
    assert one.data_to_send() == [] and one.waits()
    if how == "acknowledged":
        one.reached = True
    elif how == "re-offer":
        one.aim(spec())
    elif how in ("called", "other port"):
        one.receive(False, b"\x00\x01" + bytes(18), THERE if how == "called" else NEXT_DOOR, 31.5)  # STUN
    assert targets(turned(one, 32.0, 33.0)) == [("192.0.2.1", 4000)] * begins
    assert one.failed is None
