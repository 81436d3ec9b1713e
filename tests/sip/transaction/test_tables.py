"""The tables of RFC 3261 section 17."""

from __future__ import annotations

import pytest

from sip.transaction.tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    OTHER_CLIENT,
    OTHER_SERVER,
    Action,
    Input,
    State,
    kind_of,
    step,
)

TABLES = [INVITE_SERVER, OTHER_SERVER, INVITE_CLIENT, OTHER_CLIENT]


def walk(table, state, *inputs):
    for happened in inputs:
        state, _ = step(table, state, happened)
    return state


def test_a_2xx_is_kept_for_retransmitted_invites():
    state, actions = step(INVITE_SERVER, State.PROCEEDING, Input.SUCCESS)
    assert (state, actions) == (State.ACCEPTED, (Action.SEND, Action.WAIT))
    assert step(INVITE_SERVER, State.ACCEPTED, Input.REQUEST) == (State.ACCEPTED, (Action.REPEAT,))


def test_a_refused_invite_is_repeated_until_its_ack():
    assert walk(INVITE_SERVER, State.PROCEEDING, Input.FAILURE, Input.RETRANSMIT, Input.REQUEST) is State.COMPLETED
    assert step(INVITE_SERVER, State.COMPLETED, Input.ACK)[0] is State.CONFIRMED
    assert step(INVITE_SERVER, State.CONFIRMED, Input.REQUEST) == (State.CONFIRMED, ())
    assert walk(INVITE_SERVER, State.CONFIRMED, Input.END) is State.TERMINATED


def test_a_bye_that_waits_for_the_user_answers_no_copy():
    assert step(OTHER_SERVER, State.TRYING, Input.REQUEST) == (State.TRYING, ())
    assert step(OTHER_SERVER, State.COMPLETED, Input.REQUEST) == (State.COMPLETED, (Action.REPEAT,))


def test_a_2xx_to_our_invite_is_acknowledged_each_time():
    state, actions = step(INVITE_CLIENT, State.CALLING, Input.SUCCESS)
    assert Action.DELIVER in actions
    assert step(INVITE_CLIENT, state, Input.SUCCESS) == (State.ACCEPTED, (Action.ACK,))


def test_our_unanswered_request_is_reported():
    for table, start in ((INVITE_CLIENT, State.CALLING), (OTHER_CLIENT, State.TRYING)):
        assert step(table, start, Input.TIMEOUT) == (State.TERMINATED, (Action.REPORT_TIMEOUT,))


@pytest.mark.parametrize("table", TABLES)
def test_every_state_has_a_way_out(table):
    reached = {state for state, _ in table} | {after for after, _ in table.values()}
    for state in reached - {State.TERMINATED}:
        seen, todo = set(), [state]
        while todo:
            here = todo.pop()
            seen.add(here)
            todo += [after for (before, _), (after, _) in table.items() if before is here and after not in seen]
        assert State.TERMINATED in seen


def test_an_input_not_in_the_table_changes_nothing():
    assert step(OTHER_SERVER, State.COMPLETED, Input.ACK) == (State.COMPLETED, ())


def test_status_codes_fall_in_three_kinds():
    assert [kind_of(s) for s in (100, 199, 200, 299, 300, 699)] == [
        Input.PROVISIONAL,
        Input.PROVISIONAL,
        Input.SUCCESS,
        Input.SUCCESS,
        Input.FAILURE,
        Input.FAILURE,
    ]
