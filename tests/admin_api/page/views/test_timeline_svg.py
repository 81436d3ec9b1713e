"""The time line of a call, drawn to scale."""

from typing import Any

from admin_api.page.views.timeline_svg import MOST_ROWS, named, owners, picture

CALL: dict[str, Any] = {
    "started_at": "2026-02-16T09:00:00.000Z",
    "ended_at": "2026-02-16T09:01:40.000Z",
    "duration_ms": 100_000,
    "parties": [
        {"name": "Ada", "joined_at": "2026-02-16T09:00:00.000Z", "left_at": "2026-02-16T09:00:50.000Z"},
        {"name": None, "number": "+4930", "joined_at": "2026-02-16T09:00:50.000Z", "left_at": None},
    ],
    "streams": [
        {
            "label": "1",
            "media": "audio",
            "first_packet_at": "2026-02-16T09:00:01.000Z",
            "last_packet_at": "2026-02-16T09:01:40.000Z",
            "pauses": [["2026-02-16T09:00:10.000Z", "2026-02-16T09:00:20.000Z"]],
            "gaps": [["2026-02-16T09:00:30.000Z", "2026-02-16T09:00:31.000Z", "loss"]],
        }
    ],
}


def places(row):
    return [(bar.kind, bar.x, bar.width) for bar in row.bars]


def test_rows_lie_to_scale():
    one, other, stream = picture(CALL).rows
    assert (one.name, places(one)) == ("Ada", [("present", 0, 50)])
    assert (other.name, places(other)) == ("+4930", [("present", 50, 50)])
    assert (stream.kind, stream.name, stream.label) == ("stream", "audio", "1")
    assert places(stream) == [("sound", 1, 99), ("pause", 10, 10), ("gap", 30, 1)]
    assert stream.bars[2].what == "loss"


def test_an_open_pause_is_drawn_to_the_end_of_the_timeline():
    open_pause = {**CALL["streams"][0], "gaps": [], "pauses": [["2026-02-16T09:01:00Z", None]]}
    stream = picture({**CALL, "ended_at": None, "streams": [open_pause]}).rows[2]
    assert places(stream) == [("sound", 1, 99), ("pause", 60, 40)]
    assert stream.bars[1].end is None


def test_ticks_are_few_and_round():
    assert [tick.after_ms for tick in picture(CALL).ticks] == [n * 15_000 for n in range(7)]
    long = {**CALL, "ended_at": "2026-02-16T19:00:00Z", "duration_ms": 36_000_000}
    assert [tick.after_ms for tick in picture(long).ticks] == [n * 7_200_000 for n in range(6)]
    assert len(picture({**CALL, "ended_at": "2026-02-16T09:00:00Z", "duration_ms": 0}).ticks) == 1


def test_what_does_not_fit_is_cut_or_left_out():
    party = {"name": "Ada", "joined_at": "2026-02-16T08:59:00Z", "left_at": "2026-02-16T10:00:00Z"}
    ada, video = picture({**CALL, "parties": [party], "streams": [{"media": "video"}]}).rows
    assert (places(ada), places(video)) == ([("present", 0, 100)], [])
    crowd = picture({**CALL, "parties": [{"name": str(n)} for n in range(MOST_ROWS + 5)]})
    assert (len(crowd.rows), crowd.left_out) == (MOST_ROWS, 6)
    assert picture({"started_at": None}) is None, "it has not begun"


def test_who_speaks_where():
    assert [owners({"party": party}) for party in (None, 0, [1, 2])] == [(), (0,), (1, 2)]
    assert [named(party) for party in ({"name": "A"}, {"uri": "sip:a@b"}, {})] == ["A", "sip:a@b", ""]
