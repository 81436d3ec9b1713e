"""Figures under the names of the contract, over all sources of a stream."""

from media.rtp import header
from media.stream.reception import MAX_SOURCES
from media.stream.report import figures
from tests.media.stream.lanes import receive, track_of


def test_an_empty_stream_has_no_codec_and_no_score() -> None:
    known = figures(track_of())
    assert (known["stream"], known["packets"], known["codec"], known["mos"], known["gaps"]) == (0, 0, "", None, [])


def test_sources_that_were_forgotten_still_count() -> None:
    track, count = track_of(), 3 * MAX_SOURCES
    for ssrc in range(count):
        for number in (1, 4):
            receive(track, [header.build(8, number, number * 160, ssrc, bytes(160))], 10 * ssrc + number)
    assert len(track.reception.sources) <= MAX_SOURCES
    assert track.reception.totals() == (2 * count, 4 * count)
    known = figures(track)
    assert (known["packets"], known["lost"], known["codec"]) == (2 * count, 2 * count, "PCMA")
    assert known["gap_ms"] >= 2 * count * 20
