"""The table of a recording's states, and that a recording follows it."""

from __future__ import annotations

import pytest

from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.session import Recording
from recorder.session.states import TRANSITIONS, Input, State
from sip.ua.events import Token
from tests.recorder.offers import now, offered, random, request, sdp
from tests.recorder.session.recordings import ID, PREFERRED


def test_only_release_leaves_the_last_state() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(TRANSITIONS[state][Input.RELEASE] is State.OVER for state in State)
    assert set(TRANSITIONS[State.OVER]) == {Input.RELEASE}
    assert {after for row in TRANSITIONS.values() for after in row.values()} == set(State) - {State.NEW}


def test_a_call_goes_through_all_states_in_order() -> None:
    one = Recording(ID, PREFERRED, random)
    for early in (e.Lost("gone"), e.MediaClosed({}, clean=True), e.Opened({0: 20000})):
        assert one.handle(early, now()) == []
    assert one.state is State.NEW
    seen = []
    for event in (
        offered(1, sdp("sendonly")),
        e.Opened({0: 20000}),
        offered(2, sdp("sendonly", version=2), cseq=2),
        e.HungUp(Token(9), request("BYE", 3), None),
        e.MediaClosed({}, clean=True),
    ):
        one.handle(event, now())
        seen.append(one.state)
    assert seen == [State.OPENING, State.RECORDING, State.RECORDING, State.CLOSING, State.FINISHING]
    one.release()
    assert one.shown_state() == "complete"


@pytest.mark.parametrize("event", [e.OpenFailed("no-port"), e.Unwanted(), e.Lost("gone")])
def test_a_failed_first_offer_ends_the_recording_unwritten(event: e.Event) -> None:
    one = Recording(ID, PREFERRED, random)
    one.handle(offered(1, sdp("sendonly")), now())
    assert one.handle(event, now())[-1] == c.Discard()
    assert one.state is State.OVER
