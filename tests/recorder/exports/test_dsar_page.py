"""The page is readable, in two languages, and takes no text for markup."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from recorder.exports.dsar_page import DEUTSCH, ENGLISH, SENTENCES, page, words
from recorder.exports.dsar_report import UNDECIDED
from recorder.exports.media_zip import LEFT_OUT, MIXED, NOTHING, UNFINISHED
from recorder.exports.render_job import DAMAGED, INCOMPLETE

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
