"""The first reading: which timestamps are believed, and how streams are lined up."""

import random
import struct
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs.decoders import Format
from media.export.timeline import Timeline, TooLong
from media.export.timeline_survey import Survey
from media.records import record_format
from media.records.reader import Batch, ClockPair, batches
from tests.in_process.rendered_calls import PCMU, START, noise, run, single

PLAIN: Mapping[int, Mapping[int, Format]] = {0: {0: PCMU, 96: Format("opus", 48_000, 2)}, 1: {0: PCMU}, 2: {0: PCMU}}
LOUD = noise(1, 100)


def survey(stored: bytes) -> Timeline:
    reading = Survey(PLAIN)
    for item in batches(record_format.read([stored])):
        if isinstance(item, Batch):
            reading.add(item)
        elif isinstance(item, ClockPair):
            reading.report(item)
    return reading.finish()


def places(stored: bytes) -> list[tuple[int, int]]:
    """Return (stream, ms from time 0) of every batch placed."""
    timeline = survey(stored)
    found = [item for item in batches(record_format.read([stored])) if isinstance(item, Batch)]
    return [(p.stream, p.position * 1000 // timeline.rate) for placed, _ in timeline.blocks(found) for p in placed]


def talk(*pieces: tuple[float, int, int], stream: int = 0, ssrc: int = 7) -> bytes:
    """Make one source: each piece is (arrival ms, timestamp, packets); sequence numbers go on."""
    out, seq = b"", 1000
    for at, ts, count in pieces:
        out += run(LOUD[:count], stream=stream, ssrc=ssrc, seq=seq, ts=ts & 0xFFFF_FFFF, at=at)
        seq += count
    return out


def sender_report(stream: int, ssrc: int, at: float, ntp_ms: float, timestamp: int) -> bytes:
    seconds = START // 1_000_000_000 + 2_208_988_800
    ntp = (seconds << 32) + int(ntp_ms * (1 << 32) / 1000)
    packet = struct.pack("!BBHIQIII", 0x80, 200, 6, ssrc, ntp, timestamp, 0, 0)
    return record_format.rtcp(stream, START + int(at * 1_000_000), packet)


BEGUN = talk((0, 0, 25))
OLD = run(LOUD[:50], at=0, ssrc=7)
OLD_GOES_ON = run(LOUD[:50], seq=1050, ts=13_000, at=1000, ssrc=7)
TWO = BEGUN + talk((400, 0, 25), stream=1, ssrc=8)
"""Two streams that were sent at once; the packets of the second one stood in a queue."""
BEHIND = sender_report(0, 7, 500, 450, 4000)
"""By a clock that is 50 ms behind ours."""
OPUS = [b"\xf8" + bytes(20)] * 5
YEARS = 30 * 365 * 86_400_000
PLACED = {
    "a hold with a running clock": (talk((0, 0, 25), (30_500, 244_000, 25)), [0, 30_500]),
    "a hold with a stopped clock": (talk((0, 0, 25), (30_500, 4000, 25), (31_000, 8000, 100)), [0, 30_500, 31_000]),
    "a stall that ends in a burst": (
        BEGUN
        + b"".join(run(LOUD[:25], seq=1025 + 25 * i, ts=4000 + 4000 * i, at=3500 + i, every=0.01) for i in range(6))
        + run(LOUD[:25], seq=1175, ts=28_000, at=3520),
        [500 * i for i in range(8)],
    ),
    "jitter": (talk((0, 0, 25), (900, 4000, 25), (1010, 8000, 25)), [0, 500, 1000]),
    "a burst in step runs ahead of time": (
        b"".join(run(LOUD, seq=1000 + 100 * i, ts=16_000 * i, at=10 * i, every=0.01) for i in range(3)),
        [0, 2000, 4000],
    ),
    **{
        f"a timestamp leaps by {leap}": (
            talk((0, 0, 25), (520, 4160 + leap, 25), (1020, 8160 + leap, 25)),
            [0, 500, 1000],
        )
        for leap in (0x4000_0000, 0xC000_0000, 100_000, -3000)
    },
    "a leap with a pause": (talk((0, 0, 25), (10_500, 777_777_777, 25)), [0, 10_500]),
    "a new source follows the old one": (BEGUN + talk((515, 900_000, 25), ssrc=8), [0, 500]),
    "a new source after a pause": (BEGUN + talk((2500, 900_000, 25), ssrc=8), [0, 2500]),
    "two sources at once lie side by side": (BEGUN + talk((100, 900_000, 25), ssrc=8), [0, 100]),
    "a new source after a clock setback": (talk((3_600_000, 0, 25)) + talk((0, 900_000, 25), ssrc=8), [0, 500]),
    "an old source that goes on moves no new one": (
        OLD + single(LOUD[0], at=1009, ssrc=8) + OLD_GOES_ON + run(LOUD[:50], at=1009, ssrc=8),
        [0, 1000, 1000, 1020],
    ),
    "of a batch only what was overtaken moves a new source": (
        OLD + single(LOUD[0], at=1031, ssrc=8) + OLD_GOES_ON,
        [0, 1000, 1040],
    ),
    "a codec with another clock goes on": (
        BEGUN
        + run(OPUS, pt=96, seq=1025, ts=4000, at=505, step=960)
        + run(OPUS, pt=96, seq=1030, ts=4000 + 9600, at=705, step=960),
        [0, 500, 700],
    ),
    "a step of the wall clock is no silence of years": (
        talk((0, 0, 25), (YEARS, 4000, 25), (YEARS + 500, 8000, 100)),
        [0, 500, 1000],
    ),
    "streams by their first arrivals": (TWO, [0, 400]),
    "streams by their sender reports (T3)": (TWO + BEHIND + sender_report(1, 8, 500, 450, 4000), [0, 0]),
    "sender reports of different clocks": (TWO + BEHIND + sender_report(1, 8, 500, 90_450, 4000), [0, 400]),
    "a sender report that is nonsense": (TWO + BEHIND + sender_report(1, 8, 500, 450, 400_000_000), [0, 400]),
}


@pytest.mark.parametrize(("stored", "expected"), PLACED.values(), ids=PLACED)
def test_packets_are_placed_by_believable_times(stored: bytes, expected: list[int]) -> None:
    """Duty T3."""
    assert [place for _, place in places(stored)] == expected


def handed_over(late: Mapping[int, float], change: int = 30, count: int = 60) -> list[tuple[int, int]]:
    """Place packets of 20 ms, `late` (ms) by their numbers, of which each `change` are another source's.

    Give what does not lie where it was sent: (number, ms).
    """
    sent = sorted((20 * n + late.get(n, 0), n) for n in range(count))
    stored = b"".join(
        single(LOUD[n % 50], ssrc=7 + turn, seq=500 * turn + n, ts=90_000 * turn + 160 * n, at=at)
        for at, n, turn in ((at, n, n // change) for at, n in sent)
    )
    timeline, found = survey(stored), [b for b in batches(record_format.read([stored])) if isinstance(b, Batch)]
    lie = [(p.ext_seq % 500, p.position // 8) for placed, _ in timeline.blocks(found) for p in placed]
    assert sorted(n for n, _ in lie) == list(range(count))
    return [(n, at) for n, at in lie if at != 20 * n]


@pytest.mark.parametrize(
    "late",
    [
        {29: 100},
        {28: 100, 29: 100},
        {28: 30},
        {30: 30},
        {30: 100, 31: 80},
        {29: 50, 30: 130},
        {29: 300, 30: 10, 31: 90},
    ],
    ids=str,
)
def test_a_new_source_follows_all_of_the_old_one(late: dict[int, float]) -> None:
    assert handed_over(late) == []


def test_sources_that_change_amid_late_packets_keep_the_length() -> None:
    for seed in range(10):
        dice = random.Random(seed)
        late = {n: dice.uniform(20, 300) for n in range(1, 60) if dice.random() < 0.3}
        assert handed_over(late) == []
    assert handed_over({19: 100, 39: 100, 59: 100}, 20, 100) == []  # a source behind one that was moved


def test_a_packet_later_than_a_stalled_network_moves_nothing() -> None:
    assert handed_over({30: 1990}, 30, 200) == []
    assert sorted(handed_over({30: 2100}, 30, 200)) == [(n, 20 * n - 20) for n in range(30, 200)]


def test_of_sources_without_number_only_the_last_may_still_move() -> None:
    """Whoever changes the source with every packet makes each of them no dearer."""
    stored = b"".join(single(LOUD[0], ssrc=n, ts=n * 7919, at=20 * n) for n in range(3000))
    assert places(stored) == [(0, 20 * n) for n in range(3000)]


def test_a_recording_of_more_than_a_week_is_refused() -> None:
    stored = talk((0, 0, 1)) + talk((8 * 86_400_000, 0, 1), stream=1)
    with pytest.raises(TooLong):
        survey(stored)


def test_undecodable_encodings_are_named() -> None:
    reading = Survey({0: {96: Format("EVS", 16_000)}})
    for batch in batches(record_format.read([run([b"x"], pt=96) + run([b"x"], pt=77, seq=1001)])):
        if isinstance(batch, Batch):
            reading.add(batch)
    assert reading.finish().notes.unknown == {0: ["EVS", "payload type 77"]}


numbers = st.tuples(
    st.integers(0, 2**20),
    st.integers(0, 2**32 - 1),
    st.integers(0, 20_000),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
)


@given(st.lists(numbers, max_size=20))
def test_whatever_is_stored_both_readings_agree(pieces: list[tuple[int, int, int, int, int]]) -> None:
    stored = b"".join(run(LOUD[:n], seq=seq, ts=ts, at=at, step=step) for seq, ts, at, n, step in pieces)
    timeline = survey(stored)
    found = [item for item in batches(record_format.read([stored])) if isinstance(item, Batch)]
    for placed, _ in timeline.blocks(found):
        for p in placed:
            assert p.position >= 0
            assert p.position + 160 * len(p.payloads) <= timeline.samples + 1


def test_one_packet_alone_is_a_call() -> None:
    timeline = survey(single(LOUD[0]))
    assert (timeline.samples, timeline.origin) == (160, START)


def stalled(chance: random.Random, longest: float) -> bytes:
    """Make eight seconds of two streams whose sender is held up now and then, with a report or two of each."""
    stalls = [(chance.uniform(0, 8), chance.uniform(0.02, longest)) for _ in range(3)]
    stalls.append((0, chance.uniform(0, longest)))
    sent: list[tuple[float, bytes]] = []

    def at(due: float) -> float:
        for begin, length in sorted(stalls):
            due = begin + length if begin <= due < begin + length else due
        return due * 1000

    for stream in (0, 1):
        first, slot = chance.randrange(1 << 32), chance.randrange(10) * 0.002
        for tick in range(400):
            when, ts = at(tick * 0.02 + slot) + chance.expovariate(2), first + 160 * tick & 0xFFFF_FFFF
            sent.append((when, single(b"\0" * 160, stream=stream, seq=1000 + tick, ts=ts, at=when)))
        for tick in range(chance.randrange(250), 400, 250):
            ntp = (2_208_988_800 << 32) + int((START / 1e9 + 5 + tick * 0.02) * 2**32) & (1 << 64) - 1
            report = struct.pack("!BBHIQIII", 0x80, 200, 6, 7, ntp, first + 160 * tick & 0xFFFF_FFFF, 1, 1)
            when = at(tick * 0.02) + chance.expovariate(2)
            sent.append((when, record_format.rtcp(stream, START + int(when * 1e6), report)))
    return b"".join(record for _, record in sorted(sent, key=lambda each: each[0]))


@pytest.mark.parametrize(
    ("seed", "longest"), [*((n, 0.2) for n in range(12)), *((n, 0.8) for n in (43, 62, 65, 83, 88))]
)
def test_streams_of_a_stalled_sender_stay_aligned(seed: int, longest: float) -> None:
    stored = stalled(random.Random(seed), longest)
    timeline = survey(stored)
    found = [item for item in batches(record_format.read([stored])) if isinstance(item, Batch)]
    begins = {}
    for placed, _ in timeline.blocks(found):
        for each in placed:
            begins.setdefault(each.stream, set()).add(each.position - 160 * (each.ext_seq - 1000))
    assert all(len(place) == 1 for place in begins.values())
    assert abs(begins[0].pop() - begins[1].pop()) <= 1  # a sample of rounding


@pytest.mark.parametrize("back", [0, 3_000, 3_600_000])
def test_a_clock_of_ours_that_is_set_back_moves_no_stream(back: int) -> None:
    """Two streams come with reports and one without; in the middle of the call the time is some ms earlier."""
    stored = b""
    for tick in range(200):
        real, shown = tick * 20, tick * 20 - (back if tick >= 120 else 0)
        for stream in range(3):
            stored += single(b"\0" * 160, stream=stream, seq=1000 + tick, ts=160 * tick, at=shown)
            if stream and tick in (100, 150):
                ntp = (2_208_988_800 << 32) + (START // 1_000_000 + real) * 2**32 // 1000
                report = struct.pack("!BBHIQIII", 0x80, 200, 6, 7, ntp, 160 * tick, 1, 1)
                stored += record_format.rtcp(stream, START + shown * 1_000_000, report)
    found = sorted(places(stored))
    assert len(found) == 600
    assert all(abs(place - 20 * (number % 200)) <= 1 for number, (_, place) in enumerate(found))  # of rounding
