"""The tables of a session: what can happen, and that everything ends."""

from __future__ import annotations

from enum import Enum

import pytest

from sip.ua.session_state import ACK_STATES, OFFER_STATES, PHASES, AckState, OfferState, Phase, PhaseInput


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
