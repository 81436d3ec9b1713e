"""Parameters are read strictly, and a fault names declared parameters only."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.calls import call_views
from admin_api.calls.calls import SEARCH
from admin_api.http import query_parameters
from admin_api.http.problems import Problem
from storage.calls.call_row import CallRow, CallState

NOON = datetime(2026, 2, 3, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-03T12:00:00Z",
        "2026-02-03t12:00:00.000z",
        "2026-02-03T13:00:00+01:00",
        "2026-02-03T13:00:00 01:00",
        "2026-02-03T06:30:00-05:30",
    ],
)
def test_times_with_a_zone(text):
    assert query_parameters.time(text) == NOON
    assert query_parameters.time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-02-03",
        "2026-02-03T12:00:00",
        "2026-02-30T12:00:00Z",
        "2026-02-03T12:00:60Z",
        "20260203T120000Z",
        "2026-W06-2T12:00:00Z",
        "2026-02-03T12:00:00+99:00",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "٢٠٢٦-02-03T12:00:00Z",
        "2026-02-03T12:00:00Z\n",
    ],
)
def test_an_invalid_time_is_refused(text):
    with pytest.raises(ValueError):
        query_parameters.time(text)


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))])))
def test_every_time_that_is_written_is_read(at):
    try:
        text = at.isoformat()
        expected = at.astimezone(UTC)
    except OverflowError:
        return
    assert query_parameters.time(text) == expected


@given(st.text())
def test_readers_give_a_value_or_a_value_error(text):
    for parameter in (*SEARCH, query_parameters.FORMAT):
        try:
            parameter.read(text)
        except ValueError:
            continue


@given(st.lists(st.tuples(st.sampled_from(["party", "limit", "since", "x", "secret"]), st.text(min_size=1))))
def test_a_query_is_read_or_answered_422_without_repeating_it(pairs):
    planted = [(name, text + "Qz7") for name, text in pairs if name != "party"]
    try:
        query_parameters.read(SEARCH, planted)
    except Problem as problem:
        shown = json.dumps(problem.document())
        assert problem.status == 422
        assert "Qz7" not in shown and "secret" not in shown
    else:
        assert not planted


def test_an_unescaped_plus_is_a_plus():
    assert query_parameters.party(" 4930123") == "+4930123"
    assert query_parameters.party("+4930123") == "+4930123"
    assert query_parameters.party(" Ada") == " Ada"


def test_an_empty_or_too_long_party_is_refused():
    for text in ("", "  ", "x" * 513):
        with pytest.raises(ValueError):
            query_parameters.party(text)


def test_defaults_and_values():
    assert query_parameters.read(SEARCH, []) == {
        "party": None,
        "since": None,
        "until": None,
        "state": None,
        "hold": None,
        "direction": None,
        "source": None,
        "limit": 50,
        "cursor": None,
    }
    given_ = query_parameters.read(SEARCH, [("state", "complete"), ("limit", "7")])
    assert given_["state"] is CallState.COMPLETE
    assert given_["limit"] == 7


def test_a_parameter_twice_is_refused():
    with pytest.raises(Problem) as raised:
        query_parameters.read(SEARCH, [("limit", "1"), ("limit", "1")])
    assert raised.value.errors == ({"in": "query", "name": "limit", "reason": "must be given once"},)


def test_limits_of_a_page():
    assert query_parameters.limit("1000") == 1000
    for text in ("0", "1001", "-1", "1.0", "²", " 1", "٣"):
        with pytest.raises(ValueError):
            query_parameters.limit(text)


def indexed(**changes):
    values = {
        "id": "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11",
        "leaf": 1,
        "state": CallState.RECORDING,
        "started_at": NOON,
        "ended_at": None,
        "duration_ms": 0,
        "size_bytes": 9,
        "hold": True,
        "erase_after": NOON,
        "details": {"streams": [{"packets": 1}]},
    }
    return CallRow(**{**values, **changes})


def test_a_finished_call_is_shown_from_the_index():
    shown = call_views.call(indexed(state=CallState.COMPLETE, ended_at=NOON), None)
    assert shown["state"] == "complete"
    assert shown["started_at"] == shown["ended_at"] == "2026-02-03T12:00:00.000Z"
    assert shown["streams"] == [{"packets": 1, "decodable": None}]


def test_a_live_call_is_shown_with_the_hold_of_the_index():
    shown = call_views.call(indexed(), {"streams": [{"packets": 500}], "hold": False, "duration_ms": 10_000})
    assert shown["streams"] == [{"packets": 500, "decodable": None}]
    assert shown["duration_ms"] == 10_000
    assert shown["hold"] is True
    assert shown["erase_after"] == "2026-02-03T12:00:00.000Z"


def test_an_undecodable_stream_is_marked():
    kinds = [("audio", "G726-32"), ("audio", "EVS"), ("audio", None), ("video", "VP9"), ("text", "t140")]
    details = {"streams": [{"media": media, "codec": codec} for media, codec in kinds]}
    shown = call_views.call(indexed(details=details), None)
    assert [stream["decodable"] for stream in shown["streams"]] == [True, False, None, False, None]
    assert "decodable" not in details["streams"][0]


def test_a_live_call_takes_its_hold_from_the_index():
    live = {"id": "x", "state": "recording", "size_bytes": 7, "hold": False, "streams": []}
    shown = call_views.call(indexed(hold=True), live)
    assert (shown["state"], shown["size_bytes"], shown["hold"], shown["streams"]) == ("recording", 7, True, [])


def test_details_cannot_overwrite_what_the_index_says():
    assert call_views.call(indexed(details={"id": "other", "hold": False}), None)["id"].startswith("6f1c")
