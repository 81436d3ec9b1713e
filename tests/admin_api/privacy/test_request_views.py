"""How a case, a candidate and a report look in each state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from admin_api.assembly.openapi import document
from admin_api.privacy import request_views
from storage.calls.call_row import CallRow, CallState
from storage.exports.exports import Export, ExportState
from storage.subject_requests.candidates import Candidate
from storage.subject_requests.case_rows import Asked, Case, Kind, Selection, State, due
from storage.subject_requests.claims import Claim, Match, Why

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTED = {
    "export": "e1",
    "asked_at": "2026-03-01T12:00:00.123456Z",
    "asked_by": "paula",
    "media": "wav",
    "silence_others": False,
    "other_parties": False,
    "encrypted": None,
}
DONE = {**NOTED, "done_at": "2026-03-01T12:01:00.000000Z", "state": "done", "calls": ["a", "b"], "sha256": "00" * 32}
EXPORT = Export("e1", 1, ExportState.RUNNING, "report", T0, "paula", T0 + timedelta(days=7), None, None)


def case(**changes):
    asked = Asked(("Anna",), None, "letter", None)
    made = Case("c1", State.OPEN, (Kind.ACCESS,), T0, due(T0), T0, "paula", T0, asked, Selection({"a": (0,)}, ("b",)))
    return replace(made, **changes)


def test_a_case_is_overdue_after_a_month_unless_it_is_over():
    late = T0 + timedelta(days=32)
    assert not request_views.case(case(), T0, None, None)["overdue"]
    assert request_views.case(case(), late, None, None)["overdue"]
    over = case(state=State.DONE, asked=None, selection=Selection())
    assert not request_views.case(over, late, None, None)["overdue"]


def test_a_closed_case_counts_what_its_record_says():
    record = {"counts": {"selected": 3, "left_out": 1}}
    shown = request_views.case(case(asked=None, selection=Selection(), noted={"record": record}), T0, None, None)
    assert (
        shown["selection"] == {"in": 3, "out": 1, "undecided": 0}
        and shown["identities"] is None
        and shown["record"] == record
    )


@pytest.mark.parametrize(
    ("noted", "export", "state"),
    [
        (NOTED, EXPORT, "running"),
        (DONE, replace(EXPORT, state=ExportState.DONE), "done"),
        (NOTED, replace(EXPORT, state=ExportState.DONE), "running"),
        (DONE, None, "gone"),
        ({**NOTED, "state": "failed", "problem": "No room."}, replace(EXPORT, state=ExportState.FAILED), "failed"),
        ({**NOTED, "state": "cancelled"}, None, "cancelled"),
        (NOTED, None, "gone"),
    ],
)
def test_a_report_is_shown_with_state_and_progress(noted, export, state):
    shown = request_views.report(noted, export, (1, 2))
    assert shown["state"] == state and shown["created_at"] == "2026-03-01T12:00:00.123Z"
    assert shown["progress"] == ({"done": 1, "of": 2} if state == "running" else None)
    assert shown["calls"] == (2 if "calls" in noted else None)
    assert set(shown) == set(document()["components"]["schemas"]["Report"]["properties"])


def test_a_candidate_shows_the_person_and_counts_the_others():
    parties = [{"name": "Bob", "number": "+4940"}, {"name": "Anna", "number": "+4930", "role": "callee", "also": ["x"]}]
    streams = [{"party": 0}, {"party": [0, 1]}]
    row = CallRow("a", 1, CallState.COMPLETE, T0, T0, 1, 1, details={"parties": parties, "streams": streams})
    match = Match(1, Claim("Anna", "name", (), True, T0), Why.NAME)
    shown = request_views.candidate(Candidate(row, (match,), "Anna Alt"), case())
    assert (shown["selected"], shown["sure"], shown["others"], shown["separable"]) == ("in", False, 1, False)
    (person,) = shown["parties"]
    assert (person["index"], person["name"], person["known_as"]) == (1, "Anna", "Anna Alt")
    assert (shown["matches"][0]["from"], shown["matches"][0]["until"]) == ("directory", "2026-03-01T12:00:00.000Z")
    assert "Bob" not in str(shown) and "4940" not in str(shown)
    assert request_views.candidate(Candidate(replace(row, id="b"), (match,)), case())["selected"] == "out"


def test_an_ambiguous_person_has_to_be_chosen():
    row = CallRow("a", 1, CallState.COMPLETE, T0, T0, 1, 1, details={"parties": [{}, {}]})
    perhaps = [Match(n, Claim("Anna", "name", ()), Why.NAME) for n in range(2)]
    assert request_views.candidate(Candidate(row, tuple(perhaps)), case())["choose"]
    assert not request_views.candidate(Candidate(row, (perhaps[0], replace(perhaps[1], why=Why.THEIRS))), case())[
        "choose"
    ]
    undecided = case(selection=Selection({"a": (), "b": (1,)}))
    assert request_views.selected(undecided) == {"in": 2, "out": 0, "undecided": 1}


@pytest.mark.parametrize(
    ("streams", "apart"),
    [([], True), ([{"party": 1}], True), ([{"party": None}], False), ([{"party": 1, "earlier": [0]}], False)],
)
def test_separable(streams, apart):
    assert request_views.separable(streams) is apart
