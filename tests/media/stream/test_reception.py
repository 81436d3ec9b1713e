"""Sources, counters and clocks of a stream, without the stream."""

import pytest

from media.rtp.sequence import Source
from media.stream.reception import DEFAULT_PACKET_NS, MAX_SOURCES, Reception, signed

AT = 1_700_000_000_000_000_000
PACE = 20_000_000


def arrived(reception: Reception, source: Source, sequence: int, arrival: int) -> None:
    """Have one packet of 160 samples arrive in order."""
    known, followed = source.known, source.extend(sequence) == source.highest + 1 and source.known
    source.accept(source.extend(sequence))
    reception.follow(source, sequence * 160 & 0xFFFFFFFF, arrival, 160, goes_on=known, followed=followed)
    reception.store(160, arrival)


def grown(count: int = 3) -> Reception:
    reception = Reception()
    reception.switch(8, 8000)
    source = reception.turn_to(7, 100, None)
    for n in range(count):
        arrived(reception, source, 100 + n, AT + n * PACE)
    return reception


def test_the_length_of_a_packet_is_the_smallest_step() -> None:
    assert Reception().packet_ns(Source(7, 1)) == DEFAULT_PACKET_NS
    reception = grown()
    assert reception.current is not None and reception.packet_ns(reception.current) == PACE


@pytest.mark.parametrize(("ahead", "seconds", "agrees"), [(50, 1, True), (50, 5, False), (5000, 1, False)])
def test_a_jump_agrees_with_the_time_that_went_by(ahead: int, seconds: int, agrees: bool) -> None:
    reception = grown()
    source = reception.current
    assert source is not None
    assert reception.agrees(source, source.highest + ahead, source.arrival + seconds * 1_000_000_000) == agrees


def test_the_oldest_of_too_many_sources_stays_counted() -> None:
    reception = grown(3)
    for ssrc in range(100, 100 + MAX_SOURCES):
        arrived(reception, reception.turn_to(ssrc, 1, None), 1, AT + ssrc * PACE)
    assert len(reception.sources) == MAX_SOURCES
    assert reception.source_of(7) is not None, "the one heard most stays"
    assert reception.source_of(100) is None
    assert reception.totals() == (0, 3 + MAX_SOURCES)


def test_a_new_source_uses_no_sequence_numbers_of_the_old_one() -> None:
    reception = grown(3)
    reception.displace()
    assert (reception.sources, reception.current, reception.totals()) == ((), None, (0, 3))
    assert reception.turn_to(7, 101, None).first >> 16 == 1


def test_a_checkpoint_brings_everything_back() -> None:
    reception = grown(3)
    arrived(reception, reception.turn_to(9, 5, None), 5, AT + 3 * PACE)
    reception.reject()
    reception.ignore(2)
    successor = Reception()
    successor.switch(8, 8000)
    rare = {"others": reception.others(), "current": True, "retired": [1, 2, 3], "epoch": 4}
    successor.restore(reception.counters(), reception.jitter, reception.place(), rare)
    successor.go_on(*reception.moving())  # type: ignore[arg-type]
    assert (successor.counters(), successor.place(), successor.others()) == (
        reception.counters(), reception.place(), reception.others(),
    )  # fmt: skip
    assert (successor.retired, successor.epoch, successor.last_arrival) == ((1, 2, 3), 4, reception.last_arrival)


def test_the_difference_of_two_timestamps_is_the_nearest_step() -> None:
    assert [signed(value) for value in (0, 160, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)] == [
        0, 160, 0x7FFFFFFF, -0x80000000, -1,
    ]  # fmt: skip
