"""Figures under the names of the contract, over all sources of a stream."""

from media.rtp import header
from media.spec import StreamSpec
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from media.stream.reception import MAX_SOURCES
from media.stream.report import figures

AT = 1_700_000_000_000_000_000


def hear(track: ReceivedStream, number: int, ssrc: int, at: int) -> None:
    packet = header.build(8, number, number * 160, ssrc, bytes(160))
    track._place(header.parse(packet), packet, AT + at * 20_000_000)


def test_an_empty_stream_has_no_codec_and_no_score() -> None:
    told = figures(ReceivedStream(StreamSpec(4), Pauses(), 1))
    assert (told["stream"], told["packets"], told["codec"], told["mos"], told["gaps"]) == (4, 0, "", None, [])


def test_sources_that_were_forgotten_still_count() -> None:
    track, count = ReceivedStream(StreamSpec(0, payloads=((8, "PCMA", 8000),)), Pauses(), 1), 3 * MAX_SOURCES
    for ssrc in range(count):
        hear(track, 1, ssrc, 10 * ssrc)
        hear(track, 4, ssrc, 10 * ssrc + 3)
    assert len(track.reception.sources) <= MAX_SOURCES
    assert track.reception.totals() == (2 * count, 4 * count)
    told = figures(track)
    assert (told["packets"], told["lost"], told["codec"]) == (2 * count, 2 * count, "PCMA")
    assert told["gap_ms"] >= 2 * count * 20
