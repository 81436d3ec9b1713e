"""What a person is told of a call: everything of itself, and of others a number."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from recorder.exports.dsar_data import Told, because, call, seen
from storage.calls.call_row import CallRow, CallState
from storage.retention.policy import Decision, Verdict, Wins
from storage.retention.rules import RuleSpec, Stored, StoredRule

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


def shown(about: Told | None = None, streams: Any = (), others: bool = False) -> Any:
    """Return what the person is told of a call with Bob."""
    details: Any = {"parties": [ANNA, BOB], "streams": streams, "session_id": "s"}
    row = CallRow("c", 1, CallState.COMPLETE, T0, T0, 5, 1, details=details)
    return call(row, about or told(), None, others=others)


def test_others_are_a_number_unless_they_are_asked_for() -> None:
    hidden, named = shown(), shown(others=True)
    assert "Bob" not in str(hidden) and (hidden["others"], hidden["annotations"], hidden["attachments"]) == (1, 1, 1)
    assert hidden["person"][0]["also"] == ["sip:a@x"] and "user_id" not in hidden["person"][0]
    assert named["other_parties"][0]["name"] == "Bob" and "also" not in named["other_parties"][0]
    assert named["annotation_texts"] == [{"text": "about Bob"}] and named["attachment_files"]
    assert "Knut" not in str(named)
    assert len(shown(told(parties=(0, 7)))["person"]) == 1, "a party number beyond the list is ignored"


@pytest.mark.parametrize(
    ("party", "of"),
    [(0, "person"), (1, "others"), ([0, 1], "several"), ([1], "others"), (None, "unknown")],
)
def test_whose_a_stream_is(party: Any, of: str) -> None:
    streams = [{"media": "audio", "codec": "PCMA", "party": party}]
    assert shown(streams=streams)["streams"] == [{"media": "audio", "codec": "PCMA", "of": of}]


@pytest.mark.parametrize(("before", "after", "of"), [(0, 1, "several"), (1, None, "unknown"), (1, [1], "others")])
def test_whose_a_stream_is_from_moment_to_moment(before: Any, after: Any, of: str) -> None:
    turn = "2026-03-01T12:00:01.000Z"
    speakers = [
        {"from": None, "to": turn, "party": before, "inferred": False},
        {"from": turn, "to": None, "party": after, "inferred": False},
    ]
    stream = {"media": "audio", "codec": "PCMA", "party": after, "earlier": [before], "speakers": speakers}
    (told,) = shown(streams=[stream])["streams"]
    assert told["of"] == of
    assert [(each["from"], each["to"]) for each in told["moments"]] == [(None, turn), (turn, None)]
    assert told["moments"][0]["of"] == ("person" if before == 0 else "others")


@pytest.mark.parametrize(("rule", "by", "days"), [(None, "default", 180), ("r1", "rule", 30), ("gone", "rule", None)])
def test_why_it_is_kept(rule: str | None, by: str, days: int | None) -> None:
    decision = Decision(Verdict.KEEP, rule, T0)
    made = shown(told(decision=decision))
    because(made, decision, Stored(180, Wins.LONGEST, (StoredRule("r1", RuleSpec(30, name="Bob's desk")),)))
    assert (made["kept"]["by"], made["kept"]["days"]) == (by, days) and "Bob" not in str(made)


def test_earlier_accesses_are_listed_without_names() -> None:
    entries = [
        dict(
            zip(
                ("time", "actor", "role", "action", "object", "outcome"),
                ("t" + row[0], "Knut", *row[2:].split()),
                strict=True,
            )
        )
        for row in (
            "1 listener call.media c done",
            "2 listener call.media c refused",
            "3 admin call.hold c done",
            "4 privacy export.file e done",
        )
    ]
    heard, exported = [
        {"at": at, "what": what, "role": role}
        for at, what, role in (("t1", "heard", "listener"), ("t4", "exported", "privacy"))
    ]
    assert seen(entries, {"c": {"c"}, "e": {"c", "d"}}) == {"c": [heard, exported], "d": [exported]}
