"""What a person is told of a call, and the page that says so in two languages and takes no text for markup."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from recorder.exports.dsar_data import CallFacts, because, call
from recorder.exports.dsar_page import DEUTSCH, ENGLISH, SENTENCES, page, words
from recorder.exports.dsar_report import UNDECIDED
from recorder.exports.media_zip import LEFT_OUT, MIXED, NOTHING, UNFINISHED
from recorder.exports.render_job import DAMAGED, INCOMPLETE
from storage.calls.call_row import CallRow, CallState
from storage.retention.policy import Decision, Verdict, Wins
from storage.retention.rules import RuleSpec, Stored, StoredRule

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y> javascript:z \ud800"
HEAD = {
    "customer": "acme",
    "created_at": "2026-03-01T12:00:00.000Z",
    "request": {"id": "r1", "kind": ["access"], "received_at": "2026-02-01T09:00:00.000Z", "due_at": None},
    "identities": ["Anna Schmidt"],
}


def told(**more: Any) -> dict[str, Any]:
    party = {"role": "caller", "name": "Anna Schmidt", "number": "+4930123456", "uri": None, "known_as": "Anna Weber"}
    made: dict[str, Any] = {
        "id": "c1",
        "started_at": "2026-01-15T09:30:00.000Z",
        "ended_at": "2026-01-15T09:34:12.480Z",
        "duration_ms": 252_480,
        "person": [party],
        "others": 2,
        "media": {"file": "media/c1.ogg", "problem": None},
        "annotations": 0,
        "attachments": 3,
        "kept": {"until": "2026-07-14T09:34:12.480Z", "by": "default", "days": 180, "held_since": None},
        "seen": [{"at": "2026-02-01T10:00:00.000000Z", "what": "heard", "role": "listener"}],
    }
    return {**made, **more}


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


@pytest.mark.parametrize(("w", "heard"), [(ENGLISH, "listened to"), (DEUTSCH, "angehört")])
def test_it_says_everything(w: dict[str, str], heard: str) -> None:
    seen = Tags(page(HEAD, [told()], None, w))
    times = ("2026-01-15 09:30", "0:04:12", "2026-07-14 09:34", "180")
    for text in (w["title"], "acme", "Anna Schmidt, +4930123456, Anna Weber", *times, heard, w["files"].format(n=3)):
        assert text in seen.text, text
    assert ("src", "media/c1.ogg") in seen.attributes and ("lang", w["lang"]) in seen.attributes


def test_both_languages_say_the_same() -> None:
    assert {name: text.count("{") for name, text in ENGLISH.items()} == {
        name: text.count("{") for name, text in DEUTSCH.items()
    }
    assert words("DE") is words("at") is DEUTSCH and words("FR") is ENGLISH


def test_every_media_sentence_is_translated() -> None:
    assert set(SENTENCES) == {MIXED, LEFT_OUT, NOTHING, UNFINISHED, DAMAGED, INCOMPLETE, UNDECIDED}
    both = [told(media={"file": None, "problem": f"{INCOMPLETE} {MIXED}"})]
    assert f"{SENTENCES[INCOMPLETE]} {SENTENCES[MIXED]}" in page(HEAD, both, None, DEUTSCH)
    assert f"{INCOMPLETE} {MIXED}" in page(HEAD, both, None, ENGLISH)


def test_roles_of_earlier_accesses_are_translated() -> None:
    roles = ("listener", "privacy", "admin", "operator")  # the last is whoever used the commands
    seen = [{"at": "2026-02-01T10:00:00.000000Z", "what": "heard", "role": role} for role in roles]
    for w in (ENGLISH, DEUTSCH):
        text = Tags(page(HEAD, [told(seen=seen)], None, w)).text
        assert not [role for role in roles if f": {role}," in text]


def test_no_text_becomes_markup() -> None:
    party = {"role": HOSTILE, "name": HOSTILE, "number": None, "uri": HOSTILE, "known_as": None}
    call = told(
        person=[party],
        other_parties=[party],
        media={"file": None, "problem": HOSTILE},
        annotation_texts=[{"text": HOSTILE}],
        attachment_files=[{"file": f"attachments/{HOSTILE}"}],
        seen=[{"at": HOSTILE, "what": HOSTILE, "role": HOSTILE}],
    )
    user = {"first_name": HOSTILE, "numbers": [HOSTILE], "former": [{"kind": HOSTILE, "value": HOSTILE}], "seen": []}
    made = page({**HEAD, "customer": HOSTILE, "identities": [HOSTILE]}, [call], user, DEUTSCH)
    found = Tags(made)
    assert not {"script", "img"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert made.encode()


def test_what_else_a_page_may_show() -> None:
    kept = {"until": None, "by": "default", "days": None, "held_since": "2026-02-02T00:00:00.000Z"}
    pictures = {"file": "media/c1.mkv", "problem": None}
    made = page(HEAD, [told(kept=kept), told(ended_at=None, seen=[]), told(media=pictures)], None, ENGLISH)
    assert "default-src 'none'" in made and "http://" not in made and "https://" not in made
    found = Tags(made)
    for text in (ENGLISH["ever"], "since 2026-02-02", ENGLISH["running"], "nobody"):
        assert text in found.text
    assert "video" in found.tags
    assert ENGLISH["none"] in page(HEAD, [], None, ENGLISH)


T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANNA = {"role": "caller", "name": "Anna", "number": "+4930", "uri": None, "also": ["sip:a@x"], "user_id": "u1"}
BOB = {"role": "callee", "name": "Bob", "number": "+4940", "uri": None, "also": ["sip:b@x"]}
KEEP = Decision(Verdict.KEEP, None, T0)


def about(**more: Any) -> CallFacts:
    values: dict[str, Any] = {
        "parties": (0,),
        "decision": KEEP,
        "held_since": None,
        "file": None,
        "problem": None,
        "annotations": [{"text": "about Bob", "created_by": "Knut"}],
        "attachments": [{"file": "attachments/x.vtt", "title": "Bob"}],
    }
    return CallFacts(**{**values, **more})


def shown(known: CallFacts | None = None, streams: Any = (), others: bool = False) -> Any:
    """Return what the person is told of a call with Bob."""
    details: Any = {"parties": [ANNA, BOB], "streams": streams, "session_id": "s"}
    row = CallRow("c", 1, CallState.COMPLETE, T0, T0, 5, 1, details=details)
    return call(row, known or about(), None, others=others)


def test_others_are_a_number_unless_they_are_asked_for() -> None:
    hidden, named = shown(), shown(others=True)
    assert "Bob" not in str(hidden) and (hidden["others"], hidden["annotations"], hidden["attachments"]) == (1, 1, 1)
    assert hidden["person"][0]["also"] == ["sip:a@x"] and "user_id" not in hidden["person"][0]
    assert named["other_parties"][0]["name"] == "Bob" and "also" not in named["other_parties"][0]
    assert named["annotation_texts"] == [{"text": "about Bob"}] and named["attachment_files"]
    assert "Knut" not in str(named)
    assert len(shown(about(parties=(0, 7)))["person"]) == 1, "a party number beyond the list is ignored"


@pytest.mark.parametrize(
    ("party", "of"), [(0, "person"), (1, "others"), ([0, 1], "several"), ([1], "others"), (None, "unknown")]
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
    made = shown(about(decision=decision))
    because(made, decision, Stored(180, Wins.LONGEST, (StoredRule("r1", RuleSpec(30, name="Bob's desk")),)))
    assert (made["kept"]["by"], made["kept"]["days"]) == (by, days) and "Bob" not in str(made)
