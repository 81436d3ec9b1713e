"""The tables of RFC 3261 section 17."""

from __future__ import annotations

import pytest

from sip.transaction.tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    OTHER_CLIENT,
    OTHER_SERVER,
    Input,
    State,
    kind_of,
    step,
)

TABLES = [INVITE_SERVER, OTHER_SERVER, INVITE_CLIENT, OTHER_CLIENT]


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
    kinds = [kind_of(status) for status in (100, 199, 200, 299, 300, 699)]
    assert kinds == [Input.PROVISIONAL] * 2 + [Input.SUCCESS] * 2 + [Input.FAILURE] * 2
