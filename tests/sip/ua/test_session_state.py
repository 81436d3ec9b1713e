"""The tables of a session: what can happen, and that everything ends."""

from __future__ import annotations

from enum import Enum

import pytest

from sip.transaction.timers import T1, T2
from sip.ua.session_state import (
    ACK_STATES,
    OFFER_STATES,
    PHASES,
    AckInput,
    AckState,
    AckWait,
    OfferState,
    OfferWait,
    Phase,
    PhaseInput,
)

KEY = ("call", "branch", "host", "INVITE")


@pytest.mark.parametrize(
    ("table", "end"),
    [(PHASES, Phase.CLOSED), (ACK_STATES, AckState.NONE), (OFFER_STATES, OfferState.NONE)],
    ids=["phase", "ack", "offer"],
)
def test_every_state_is_named_and_leads_to_the_end(table: dict[tuple[Enum, Enum], Enum], end: Enum):
    assert {state for state, _ in table} | set(table.values()) == set(type(end))
    for state in set(type(end)) - {end}:
        seen, todo = set(), [state]
        while todo:
            here = todo.pop()
            seen.add(here)
            todo += [after for (before, _), after in table.items() if before is here and after not in seen]
        assert end in seen


def test_a_closed_session_stays_closed():
    assert (Phase.INVITED, PhaseInput.BYE) not in PHASES
    assert not [happened for phase, happened in PHASES if phase is Phase.CLOSED]


def test_a_200_is_repeated_ever_more_seldom_until_its_ack():
    ack = AckWait()
    assert not ack and not ack.is_of(-1)
    ack.begin(AckInput.SENT, b"200", KEY, 2)
    assert ack.is_of(2) and not ack.is_of(1)
    assert [ack.interval, *(ack.back_off() for _ in range(4))] == [T1, 1.0, 2.0, T2, T2]
    ack.begin(AckInput.SENT, b"200", KEY, 3)
    assert ack.interval == T1
    ack.end(AckInput.ACKNOWLEDGED)
    assert not ack and not ack.is_of(3) and (ack.response, ack.transaction, ack.cseq) == (b"", (), 3)


def test_the_200_of_an_earlier_process_is_uncertain():
    ack = AckWait()
    ack.begin(AckInput.RESTORED, b"200", KEY, 2)
    assert ack.state is AckState.UNCERTAIN and ack
    ack.end(AckInput.GIVEN_UP)
    assert not ack


def shown(offers: OfferWait) -> tuple[OfferState, bytes, bytes]:
    return offers.state, offers.local, offers.pending


def test_one_offer_is_open_at_a_time():
    offers = OfferWait()
    offers.receive()
    offers.send(b"ours")
    assert shown(offers)[0] is OfferState.THEIRS
    offers.want(b"older")
    offers.answer(b"answer")
    assert shown(offers) == (OfferState.NONE, b"answer", b"")
    offers.send(b"ours")
    offers.receive()
    offers.refuse()
    assert shown(offers)[0] is OfferState.OURS
    assert offers.answered(accepted=True) == b"ours"
    assert shown(offers) == (OfferState.NONE, b"ours", b"")


def test_a_failed_offer_is_repeated_unless_a_newer_one_waits():
    offers = OfferWait()
    offers.send(b"first")
    offers.postpone()
    assert (shown(offers), offers.sent) == ((OfferState.NONE, b"", b"first"), b"")
    offers.send(b"first")
    offers.want(b"second")
    offers.postpone()
    assert offers.pending == b"second"


def test_an_offer_in_a_200_is_repeated_if_its_answer_is_late():
    offers = OfferWait()
    offers.send_in_response(b"ours")
    offers.make_again()
    assert (offers.state, offers.pending) == (OfferState.NONE, b"ours")


def test_a_refused_offer_of_ours_leaves_our_last_sdp():
    offers = OfferWait()
    offers.send_in_response(b"before")
    offers.answered_in_ack()
    offers.send(b"after")
    assert offers.answered(accepted=False) == b"after"
    assert shown(offers) == (OfferState.NONE, b"before", b"")
