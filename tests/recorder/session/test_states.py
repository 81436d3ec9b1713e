"""The table of a recording's states, and that a recording follows it."""

from __future__ import annotations

import pytest

from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.session import Recording
from recorder.session.states import TRANSITIONS, Input, State
from sip.message.message import Request
from sip.sdp.answer import Policy
from sip.ua.events import Token
from tests.in_process.offers import now, offered, random, sdp

BYE = e.HungUp(Token(9), Request("BYE", "sip:rec@192.0.2.1"), None)


def recording() -> Recording:
    return Recording("11111111-2222-4333-8444-555555555555", Policy(srtp="preferred"), random)


def test_only_release_leaves_the_last_state() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(TRANSITIONS[state][Input.RELEASE] is State.OVER for state in State)
    assert set(TRANSITIONS[State.OVER]) == {Input.RELEASE}
    assert {after for row in TRANSITIONS.values() for after in row.values()} == set(State) - {State.NEW}


def test_a_call_goes_through_all_states_in_order() -> None:
    one, seen = recording(), []
    for event in (
        offered(1, sdp("sendonly")),
        e.Opened({0: 20000}),
        offered(2, sdp("sendonly", version=2), cseq=2),
        BYE,
        e.MediaClosed({}, clean=True),
    ):
        one.handle(event, now())
        seen.append(one.state)
    assert seen == [State.OPENING, State.RECORDING, State.RECORDING, State.CLOSING, State.FINISHING]
    one.release()
    assert one.state is State.OVER


@pytest.mark.parametrize("event", [e.OpenFailed("no-port"), e.Unwanted(), e.Lost("gone")])
def test_a_failed_first_offer_ends_the_recording_unwritten(event: e.Event) -> None:
    one = recording()
    one.handle(offered(1, sdp("sendonly")), now())
    assert one.handle(event, now())[-1] == c.Discard()
    assert one.state is State.OVER


def test_an_event_that_the_table_does_not_have_moves_nothing() -> None:
    one = recording()
    for early in (e.Lost("gone"), e.MediaClosed({}, clean=True), e.Opened({0: 20000})):
        assert one.handle(early, now()) == []
    assert one.state is State.NEW


def test_nobody_else_sets_the_state() -> None:
    with pytest.raises(AttributeError):
        recording().state = State.OVER  # type: ignore[misc]  # that is the point
