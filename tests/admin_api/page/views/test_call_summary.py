"""What a row says of a call."""

from admin_api.page.framework.translations import Translations
from admin_api.page.views.call_summary import fingerprint, quality, summary

CALL = {"id": "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11", "state": "complete", "started_at": None, "duration_ms": 61_000}


def test_marks_name_the_worst_stream():
    streams = [{"mos": 4.4, "gap_ms": 0, "media": "audio"}, {"mos": 2.0, "gap_ms": 4200, "media": "video"}]
    english = Translations("en")
    marks = summary({**CALL, "hold": True, "paused": True, "streams": streams}).marks
    assert [(english(mark.text, **mark.values), mark.tone) for mark in marks] == [
        ("paused", "warn"),
        ("sound bad", "bad"),
        ("4.2 s missing", "warn"),
        ("video", ""),
        ("legal hold", "hold"),
    ]


def test_a_live_call_of_several_nodes_says_where_it_is():
    english = Translations("en")
    live = {**CALL, "state": "recording", "node": "rec2", "node_state": "active"}
    for call, said in (
        (live, [("on node rec2", "")]),
        ({**live, "node_state": "away"}, [("node rec2 is away", "warn")]),
        ({**live, "state": "complete"}, []),
        ({**live, "node": None, "node_state": None}, []),
    ):
        assert [(english(mark.text, **mark.values), mark.tone) for mark in summary(call).marks] == said


def test_estimates_are_classes_of_g107():
    english = Translations("en")
    words = [english(quality(mos).text) for mos in (4.5, 4.03, 4.0, 3.6, 3.2, 3.0, 1.0)]
    assert words == ["sound good", "sound good", "sound fair", "sound fair", "sound poor", "sound bad", "sound bad"]
    assert quality(None) is None


def test_a_fingerprint_ignores_the_duration():
    live = {**CALL, "state": "recording"}
    one = fingerprint([summary(live)])
    assert fingerprint([summary({**live, "duration_ms": 99_000})]) == one
    changed = ([], [summary({**live, "paused": True})], [summary({**live, "parties": [{"name": "\ud800"}]})])
    assert one not in map(fingerprint, changed)
