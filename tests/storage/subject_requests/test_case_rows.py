"""States of a request, its deadline, and what of its row can be read by whom."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from storage.keys import sealing
from storage.subject_requests.case_rows import (
    OVER,
    Asked,
    Case,
    Kind,
    Selection,
    State,
    Step,
    after,
    columns,
    due,
    shown,
)

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


def case(keys, **changes):
    asked = Asked(("+49 30 123456", "Anna Schmidt"), None, "letter 17", "Art. 15")
    made = Case(
        "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11",
        State.OPEN,
        (Kind.ACCESS, Kind.ERASURE),
        T0,
        due(T0),
        T0,
        "paula",
        T0,
        asked,
        Selection({"a": (0, 2)}, ("b",)),
        {"reports": []},
        leaf=sealing.new_leaf(keys),
    )
    return replace(made, **changes)


def test_a_row_gives_the_case_back(keys):
    made = case(keys)
    row = columns(keys, made)
    assert shown(keys, SimpleNamespace(**row)) == made
    assert row["kinds"] == "access,erasure"
    assert not any(b"Schmidt" in value for value in row.values() if isinstance(value, bytes))
    assert "Schmidt" not in repr(made) and "Art. 15" not in repr(made)


def test_a_row_from_before_there_were_extensions_is_read(keys):
    made = case(keys)
    told = {"identities": ["a"], "user": None, "reference": None, "reason": None, "in": {}, "out": []}
    row = {**columns(keys, made), "sealed": sealing.seal(keys, made.leaf, "request", made.id, told)}
    found = shown(keys, SimpleNamespace(**row))
    assert found.asked == Asked(("a",), None) and found.extension is None


def test_a_case_with_a_cut_key_names_nobody(keys):
    made = case(keys)
    row = columns(keys, made)
    keys.cut(made.leaf)
    found = shown(keys, SimpleNamespace(**row))
    assert (found.asked, found.selection, found.noted) == (None, Selection(), {"reports": []})


CLOSE = {Step.DONE: State.DONE, Step.REFUSED: State.REFUSED, Step.CLOSED: State.CLOSED}
SELECT, WORK = {Step.SELECT: State.CONFIRMED}, {Step.REPORT: State.REPORTING, Step.ERASE: State.ERASING}
WAYS = {
    State.OPEN: {**SELECT, **CLOSE},
    State.CONFIRMED: {**SELECT, **WORK, **CLOSE},
    State.REPORTING: {Step.MADE: State.REPORTED, Step.FAILED: State.CONFIRMED},
    State.REPORTED: {**SELECT, **WORK, **CLOSE},
    State.ERASING: CLOSE,
    State.DONE: {},
    State.REFUSED: {},
    State.CLOSED: {},
}


@pytest.mark.parametrize("state", State)
def test_the_steps_of_a_request(state):
    extended = {} if state in OVER else {Step.EXTEND: state}
    assert {step: to for step in Step if (to := after(state, step))} == {**WAYS[state], **extended}


@pytest.mark.parametrize(
    ("received", "months", "answered"),
    [("2026-03-01", 1, "2026-04-01"), ("2026-01-31", 1, "2026-02-28"), ("2028-01-30", 1, "2028-02-29"),
     ("2026-12-31", 1, "2027-01-31"), ("2026-11-30", 3, "2027-02-28"), ("2026-12-01", 2, "2027-02-01"),
     ("2027-11-30", 3, "2028-02-29"), ("2026-09-15", 3, "2026-12-15")],
)  # fmt: skip
def test_months_are_those_of_the_calendar(received, months, answered):
    assert due(datetime.fromisoformat(received), months) == datetime.fromisoformat(answered)
