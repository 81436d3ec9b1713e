"""What goes on of an association whose process died: its keys, and its last flight for a peer that asks again."""

from __future__ import annotations

import base64
import json

import pytest

from media.srtp.dtls import Association
from media.srtp.dtls_resumption import (
    APART,
    FIRST_TIMER,
    NONCE,
    ResumedAssociation,
    StoredAssociation,
    sealed,
    unsealed,
)
from tests.media.srtp.test_dtls import HERE, PEER, THERE, US, association

NOISE = b"\x16\xfe\xfd" + bytes(4)


def left_of(dead: Association, *, settled: bool = False) -> StoredAssociation:
    """What was stored before the last flight was sent."""
    assert dead.promised is not None
    return StoredAssociation.from_state(
        json.loads(json.dumps(StoredAssociation(dead.promised, dead.last_flight, settled).to_state()))
    )


def until_promised(ours: Association, theirs: Association) -> None:
    """Carry datagrams until our last flight waits to be sent; whoever made it dies then."""
    ours.start(0.0)
    theirs.start(0.0)
    while not ours.promised:
        for datagram in ours.data_to_send():
            theirs.receive(datagram, HERE, 0.0)
        for datagram in theirs.data_to_send():
            ours.receive(datagram, THERE, 0.0)


def test_a_server_gets_the_unsent_flight_and_the_same_keys() -> None:
    """We were the client."""
    dead, theirs = association(True), association(False, PEER, US)
    until_promised(dead, theirs)
    assert dead.keys is None and theirs.keys is None
    heir = ResumedAssociation(left_of(dead), active=True)
    assert (heir.keys, heir.promised, heir.failed, heir.midway) == (None, dead.promised, None, False)
    heir.start(5.0)
    for datagram in heir.data_to_send():
        theirs.receive(datagram, HERE, 5.0)
    assert theirs.keys is not None
    assert (theirs.keys.ours, theirs.keys.theirs) == (heir.promised.theirs, heir.promised.ours)
    assert heir.keys is None
    for datagram in theirs.data_to_send():
        heir.receive(datagram, THERE, 5.0)
    assert heir.keys == heir.promised
    assert heir.next_timer() is None and heir.data_to_send() == []


def test_a_client_that_asks_again_gets_the_unsent_flight_d7() -> None:
    """We were the server (RFC 6347 section 4.2.4)."""
    dead, theirs = association(False), association(True, PEER, US)
    asked: list[bytes] = []
    dead.start(0.0)
    theirs.start(0.0)
    while not dead.promised:
        asked = theirs.data_to_send()
        for datagram in asked:
            dead.receive(datagram, THERE, 0.0)
        if not dead.promised:
            for datagram in dead.data_to_send():
                theirs.receive(datagram, HERE, 0.0)
    heir = ResumedAssociation(left_of(dead, settled=True), active=False)
    heir.start(5.0)
    assert heir.keys == dead.keys and heir.next_timer() is None and heir.data_to_send() == []
    for datagram in asked:
        heir.receive(datagram, THERE, 5.0)
    for datagram in heir.data_to_send():
        theirs.receive(datagram, HERE, 5.0)
    assert theirs.keys is not None and heir.keys is not None
    assert (theirs.keys.ours, theirs.keys.theirs) == (heir.keys.theirs, heir.keys.ours)


def test_the_clients_last_flight_is_repeated_with_backoff() -> None:
    dead = association(True)
    until_promised(dead, association(False, PEER, US))
    heir, now = ResumedAssociation(left_of(dead), active=True), 10.0
    heir.start(now)
    said = [heir.data_to_send()]
    for _ in range(4):
        due = heir.next_timer()
        assert due is not None
        heir.handle_timer(due - 0.01)
        assert heir.data_to_send() == []
        heir.handle_timer(due)
        said.append(heir.data_to_send())
        now = due
    assert said == [list(dead.last_flight)] * 5
    assert now == 10.0 + FIRST_TIMER * (1 + 2 + 4 + 8)
    heir.settle()
    heir.handle_timer(1000.0)
    assert (heir.keys, heir.next_timer(), heir.data_to_send()) == (dead.promised, None, [])


@pytest.mark.parametrize("active", [True, False])
def test_repeated_requests_for_a_flight_are_rate_limited(active: bool) -> None:
    ours, theirs = association(active), association(not active, PEER, US)
    until_promised(ours, theirs)
    heir = ResumedAssociation(left_of(ours, settled=True), active=active)
    asks = b"\x16\xfe\xfd\0\0" if active else b"\x16\xfe\xfd\0\1"
    asks += bytes(6) + b"\0\4" + bytes(4)
    answers = []
    for now in (0.0, APART / 2, APART, APART * 3):
        heir.receive(asks, THERE, now)
        answers.append(len(heir.data_to_send()))
    once = len(ours.last_flight)
    assert answers == [once, 0, once, once]


def test_strangers_do_not_use_up_the_answers_of_the_peer() -> None:
    ours, theirs = association(False), association(True, PEER, US)
    until_promised(ours, theirs)
    heir = ResumedAssociation(left_of(ours, settled=True), active=False, home=THERE)
    asks = b"\x16\xfe\xfd\0\1" + bytes(6) + b"\0\4" + bytes(4)
    heir.receive(asks, ("203.0.113.5", 6000), 0.0)
    heir.data_to_send()
    heir.receive(asks, THERE, APART / 2)
    assert heir.data_to_send() == list(ours.last_flight)
    heir.receive(asks, THERE, APART)
    heir.receive(asks, ("203.0.113.6", 6000), APART * 0.9)
    assert heir.data_to_send() == []


@pytest.mark.parametrize("active", [True, False])
def test_datagrams_that_request_nothing_get_no_answer(active: bool) -> None:
    ours, theirs = association(active), association(not active, PEER, US)
    until_promised(ours, theirs)
    heir = ResumedAssociation(left_of(ours), active=active)
    alert = b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28"
    for datagram in (b"", NOISE, alert, b"\x80" + bytes(30)):
        heir.receive(datagram, THERE, 0.0)
    assert heir.data_to_send() == []
    assert (heir.keys is None) is active


def test_a_server_is_not_asked_again_by_what_anybody_can_say() -> None:
    """Records in the clear; the client's Finished is not."""
    ours, theirs = association(False), association(True, PEER, US)
    until_promised(ours, theirs)
    heir = ResumedAssociation(left_of(ours, settled=True), active=False)
    heir.receive(b"\x16\xfe\xfd\0\0" + bytes(6) + b"\0\4" + bytes(4), THERE, 0.0)
    assert heir.data_to_send() == []


@pytest.mark.parametrize("record", [b"\x14\xfe\xfd\0\0", b"\x16\xfe\xfd\0\1"])
def test_either_half_of_the_last_flight_completes_the_handshake(record: bytes) -> None:
    """They may come in two datagrams, and one may be lost."""
    ours, theirs = association(True), association(False, PEER, US)
    until_promised(ours, theirs)
    heir = ResumedAssociation(left_of(ours), active=True)
    heir.receive(record + bytes(6) + b"\0\4" + bytes(4), THERE, 0.0)
    assert heir.keys == ours.promised and heir.data_to_send() == []


def test_the_repr_of_handshake_state_hides_keys_and_flight() -> None:
    dead = association(True)
    until_promised(dead, association(False, PEER, US))
    left = left_of(dead)
    assert left.keys.theirs.hex() not in repr(left) and repr(left.keys.theirs) not in repr(left)
    assert repr(left.flight) not in repr(left)


def test_only_our_certificates_key_unseals_the_handshake_state() -> None:
    text = sealed(["key", 7], bytes(US), bytes(NONCE), "call 0")
    assert "key" not in text and b"key" not in base64.b64decode(text)
    assert unsealed(text, bytes(US), "call 0") == ["key", 7]
    assert unsealed(text, bytes(PEER), "call 0") is None
    assert unsealed(text, bytes(US), "call 1") is None
