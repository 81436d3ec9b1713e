"""What goes on of an association whose process died: its keys, and its last flight for a peer that asks again."""

import base64
import json
from typing import Any

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
from tests.media.srtp.test_dtls import HERE, PEER, THERE, US, association, deliver, until_promised

NOISE = b"\x16\xfe\xfd" + bytes(4)


def left_of(dead: Association, *, settled: bool = False) -> StoredAssociation:
    """Give what was stored before the last flight was sent."""
    assert dead.promised is not None
    state = StoredAssociation(dead.promised, dead.last_flight, settled).to_state()
    return StoredAssociation.from_state(json.loads(json.dumps(state)))


def heir_of(active: bool, *, settled: bool = False, **more: Any) -> tuple[ResumedAssociation, Association]:
    """Give what goes on of an association that died with its last flight unsent, and that association."""
    dead = association(active)
    until_promised(dead, association(not active, PEER, US))
    return ResumedAssociation(left_of(dead, settled=settled), active=active, **more), dead


def record(kind: int, epoch: int) -> bytes:
    return bytes((kind, 0xFE, 0xFD, 0, epoch)) + bytes(6) + b"\0\4" + bytes(4)


def test_a_server_gets_the_unsent_flight_and_the_same_keys() -> None:
    """We were the client."""
    dead, theirs = association(True), association(False, PEER, US)
    until_promised(dead, theirs)
    assert [dead.keys, theirs.keys] == [None, None]
    heir = ResumedAssociation(left_of(dead), active=True)
    promised = dead.promised
    assert promised is not None and [heir.keys, heir.failed] == [None, None]
    assert (heir.promised, heir.midway) == (promised, False)
    heir.start(5.0)
    deliver(heir.data_to_send(), theirs, HERE, 5.0)
    assert theirs.keys is not None
    assert (theirs.keys.ours, theirs.keys.theirs) == (promised.theirs, promised.ours)
    assert [heir.keys] == [None]
    deliver(theirs.data_to_send(), heir, THERE, 5.0)
    assert heir.keys == promised
    assert heir.next_timer() is None and heir.data_to_send() == []


def test_a_client_that_asks_again_gets_the_unsent_flight_d7() -> None:
    """We were the server (RFC 6347 section 4.2.4)."""
    dead, theirs = association(False), association(True, PEER, US)
    asked: list[bytes] = []
    dead.start(0.0)
    theirs.start(0.0)
    while not dead.promised:
        asked = theirs.data_to_send()
        deliver(asked, dead, THERE)
        if not dead.promised:
            deliver(dead.data_to_send(), theirs, HERE)
    heir = ResumedAssociation(left_of(dead, settled=True), active=False)
    heir.start(5.0)
    assert heir.keys == dead.keys and heir.next_timer() is None and heir.data_to_send() == []
    deliver(asked, heir, THERE, 5.0)
    deliver(heir.data_to_send(), theirs, HERE, 5.0)
    assert theirs.keys is not None and heir.keys is not None
    assert (theirs.keys.ours, theirs.keys.theirs) == (heir.keys.theirs, heir.keys.ours)


def test_the_clients_last_flight_is_repeated_with_backoff() -> None:
    (heir, dead), now = heir_of(True), 10.0
    heir.start(now)
    sent = [heir.data_to_send()]
    for _ in range(4):
        due = heir.next_timer()
        assert due is not None
        heir.handle_timer(due - 0.01)
        assert heir.data_to_send() == []
        heir.handle_timer(due)
        sent.append(heir.data_to_send())
        now = due
    assert sent == [list(dead.last_flight)] * 5
    assert now == 10.0 + FIRST_TIMER * (1 + 2 + 4 + 8)
    heir.settle()
    heir.handle_timer(1000.0)
    assert (heir.keys, heir.next_timer(), heir.data_to_send()) == (dead.promised, None, [])


@pytest.mark.parametrize("active", [True, False])
def test_repeated_requests_for_a_flight_are_rate_limited(active: bool) -> None:
    heir, dead = heir_of(active, settled=True)
    answers = []
    for now in (0.0, APART / 2, APART, APART * 3):
        heir.receive(record(22, 0 if active else 1), THERE, now)
        answers.append(len(heir.data_to_send()))
    once = len(dead.last_flight)
    assert answers == [once, 0, once, once]


@pytest.mark.parametrize("active", [True, False])
def test_datagrams_that_request_nothing_get_no_answer(active: bool) -> None:
    """A server is asked again by the client's Finished, not by records in the clear, which anybody can send."""
    heir, _ = heir_of(active, settled=not active)
    alert = b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28"
    deliver([b"", NOISE, alert, b"\x80" + bytes(30), *([] if active else [record(22, 0)])], heir, THERE)
    assert heir.data_to_send() == []
    assert (heir.keys is None) is active


@pytest.mark.parametrize(("kind", "epoch"), [(20, 0), (22, 1)])
def test_either_half_of_the_last_flight_completes_the_handshake(kind: int, epoch: int) -> None:
    """They may come in two datagrams, and one may be lost."""
    heir, dead = heir_of(True)
    heir.receive(record(kind, epoch), THERE, 0.0)
    assert heir.keys == dead.promised and heir.data_to_send() == []


def test_handshake_state_is_sealed_and_hidden() -> None:
    """Only the key of our certificate opens it, for its own call."""
    left = left_of(heir_of(True)[1])
    hidden = (left.keys.theirs.hex(), repr(left.keys.theirs), repr(left.flight))
    assert not any(secret in repr(left) for secret in hidden)
    text = sealed(["key", 7], bytes(US), bytes(NONCE), "call 0")
    assert "key" not in text and b"key" not in base64.b64decode(text)
    opened = [unsealed(text, bytes(key), call) for key, call in ((US, "call 0"), (PEER, "call 0"), (US, "call 1"))]
    assert opened == [["key", 7], None, None]
