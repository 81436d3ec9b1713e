"""A call from the index, and what the daemon knows of it, as one document."""

from datetime import UTC, datetime

from admin_api.calls import call_views
from storage.calls.call_row import CallRow, CallState
from storage.nodes.present import Present
from storage.nodes.rows import NodeState

NOON = datetime(2026, 2, 3, 12, 0, tzinfo=UTC)


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


def test_one_of_several_nodes_recorded_a_call() -> None:
    assert "node" not in call_views.call(indexed(), None)
    node = Present(2, "rec2", NodeState.AWAY)
    shown = call_views.call(indexed(node=2), None, {2: node})
    assert (shown["node"], shown["node_state"]) == ("rec2", "away")
    unknown = call_views.call(indexed(), None, {2: node})
    assert (unknown["node"], unknown["node_state"]) == (None, None)


def test_a_live_call_is_shown_with_the_hold_of_the_index():
    shown = call_views.call(indexed(), {"streams": [{"packets": 500}], "hold": False, "duration_ms": 10_000})
    assert (shown["streams"], shown["duration_ms"]) == ([{"packets": 500, "decodable": None}], 10_000)
    assert (shown["hold"], shown["erase_after"]) == (True, "2026-02-03T12:00:00.000Z")


def test_an_undecodable_stream_is_marked():
    kinds = [("audio", "G726-32"), ("audio", "EVS"), ("audio", None), ("video", "VP9"), ("text", "t140")]
    details = {"streams": [{"media": media, "codec": codec} for media, codec in kinds]}
    shown = call_views.call(indexed(details=details), None)
    assert [stream["decodable"] for stream in shown["streams"]] == [True, False, None, False, None]
    assert "decodable" not in details["streams"][0]


def test_details_cannot_overwrite_what_the_index_says():
    assert call_views.call(indexed(details={"id": "other", "hold": False}), None)["id"].startswith("6f1c")
