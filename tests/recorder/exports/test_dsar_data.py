"""What a person is told of a call: everything of itself, and of others a number."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from recorder.exports.dsar_data import Told, because, call, seen
from storage.calls.call_row import CallRow, CallState
from storage.retention.policy import Decision, Verdict
from storage.retention.rules import RuleSpec, Stored, StoredRule, Wins

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANNA = {"role": "caller", "name": "Anna", "number": "+4930", "uri": None, "also": ["sip:a@x"], "user_id": "u1"}
BOB = {"role": "callee", "name": "Bob", "number": "+4940", "uri": None, "also": ["sip:b@x"]}
KEEP = Decision(Verdict.KEEP, None, T0)


def told(**more: Any) -> Told:
    values: dict[str, Any] = {
        "parties": (0,),
        "decision": KEEP,
        "held_since": None,
        "file": None,
        "problem": None,
        "annotations": [{"text": "about Bob", "created_by": "Knut"}],
        "attachments": [{"file": "attachments/x.vtt", "title": "Bob"}],
    }
    return Told(**{**values, **more})


def row(streams: Any = ()) -> CallRow:
    details = {"parties": [ANNA, BOB], "streams": streams, "session_id": "s"}
    return CallRow("c", 1, CallState.COMPLETE, T0, T0, 5, 1, details=details)


def test_others_are_a_number_unless_they_are_asked_for() -> None:
    shown = call(row(), told(), None, others=False)
    assert "Bob" not in str(shown) and (shown["others"], shown["annotations"], shown["attachments"]) == (1, 1, 1)
    assert shown["person"][0]["also"] == ["sip:a@x"] and "user_id" not in shown["person"][0]
    named = call(row(), told(), None, others=True)
    assert named["other_parties"][0]["name"] == "Bob" and "also" not in named["other_parties"][0]
    assert named["annotation_texts"] == [{"text": "about Bob"}] and named["attachment_files"]
    assert "Knut" not in str(named)


def test_a_party_number_beyond_the_list_is_ignored() -> None:
    shown = call(row(), told(parties=(0, 7)), None, others=False)
    assert len(shown["person"]) == 1


@pytest.mark.parametrize(
    ("party", "of"),
    [(0, "person"), (1, "others"), ([0, 1], "several"), ([1], "others"), (None, "unknown")],
)
def test_whose_a_stream_is(party: Any, of: str) -> None:
    shown = call(row([{"media": "audio", "codec": "PCMA", "party": party}]), told(), None, others=False)
    assert shown["streams"] == [{"media": "audio", "codec": "PCMA", "of": of}]


@pytest.mark.parametrize(("before", "after", "of"), [(0, 1, "several"), (1, None, "unknown"), (1, [1], "others")])
def test_whose_a_stream_is_from_moment_to_moment(before: Any, after: Any, of: str) -> None:
    turn = "2026-03-01T12:00:01.000Z"
    speakers = [
        {"from": None, "to": turn, "party": before, "inferred": False},
        {"from": turn, "to": None, "party": after, "inferred": False},
    ]
    stream = {"media": "audio", "codec": "PCMA", "party": after, "earlier": [before], "speakers": speakers}
    shown = call(row([stream]), told(), None, others=False)["streams"][0]
    assert shown["of"] == of
    assert [(each["from"], each["to"]) for each in shown["moments"]] == [(None, turn), (turn, None)]
    assert shown["moments"][0]["of"] == ("person" if before == 0 else "others")


def test_why_it_is_kept() -> None:
    stored = Stored(180, Wins.LONGEST, (StoredRule("r1", RuleSpec(30, name="Bob's desk")),))
    for decision, by, days in (
        (KEEP, "default", 180),
        (Decision(Verdict.KEEP, "r1", T0), "rule", 30),
        (Decision(Verdict.KEEP, "gone", T0), "rule", None),
    ):
        shown = call(row(), told(decision=decision), None, others=False)
        because(shown, decision, stored)
        assert (shown["kept"]["by"], shown["kept"]["days"]) == (by, days) and "Bob" not in str(shown)


def test_earlier_accesses_are_listed_without_names() -> None:
    entries = [
        {"time": "t1", "actor": "Knut", "role": "listener", "action": "call.media", "object": "c", "outcome": "done"},
        {
            "time": "t2",
            "actor": "Knut",
            "role": "listener",
            "action": "call.media",
            "object": "c",
            "outcome": "refused",
        },
        {"time": "t3", "actor": "Knut", "role": "admin", "action": "call.hold", "object": "c", "outcome": "done"},
        {"time": "t4", "actor": "Knut", "role": "privacy", "action": "export.file", "object": "e", "outcome": "done"},
    ]
    assert seen(entries, {"c": {"c"}, "e": {"c", "d"}}) == {
        "c": [
            {"at": "t1", "what": "heard", "role": "listener"},
            {"at": "t4", "what": "exported", "role": "privacy"},
        ],
        "d": [{"at": "t4", "what": "exported", "role": "privacy"}],
    }
