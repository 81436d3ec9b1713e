"""Where packets lie: the second reading."""

import pytest

from media.codecs.decoders import Format
from media.export.timeline import BLOCK, Timeline
from media.export.timeline_survey import Survey
from media.records import record_format
from media.records.reader import Batch, batches
from tests.in_process.rendered_calls import PCMU, noise, run, single

FORMS = {0: {0: PCMU, 101: Format("telephone-event", 8000), 9: Format("G722", 8000)}, 1: {0: PCMU}}


def packets(stored: bytes) -> list[Batch]:
    return [item for item in batches(record_format.read([stored])) if isinstance(item, Batch)]


def survey(stored: bytes) -> Timeline:
    reading = Survey(FORMS)
    for batch in packets(stored):
        reading.add(batch)
    return reading.finish()


def places(stored: bytes) -> list[tuple[int, int, int]]:
    """Return (stream, sequence number, place in samples) of everything placed, in order of place."""
    blocks = survey(stored).blocks(packets(stored))
    return [(p.stream, p.ext_seq, p.position) for placed, _ in blocks for p in placed]


FIVE, WRAPS = noise(1, 5), 0xFFFF_FFFF - 200
PLACED = {
    "where the timestamp says": (
        run(FIVE, seq=10, ts=100) + run(noise(2, 5), seq=15, ts=100 + 5 * 160 + 8000, at=1104.7),
        8000,
        [(0, 10, 0), (0, 15, 8800)],
    ),
    "out of order": (
        b"".join(single(FIVE[i], seq=10 + i, ts=1000 + 160 * i, at=20 * i) for i in (0, 2, 1, 3)),
        8000,
        [(0, 10, 0), (0, 11, 160), (0, 12, 320), (0, 13, 480)],
    ),
    "before the first": (
        single(FIVE[1], seq=11, ts=1160, at=0) + single(FIVE[0], seq=10, ts=1000, at=1),
        8000,
        [(0, 10, 0), (0, 11, 160)],
    ),
    "over a wrap of number and timestamp": (
        run(FIVE[:3], seq=65_534, ts=WRAPS) + run(FIVE[:3], seq=65_537, ts=(WRAPS + 480) & 0xFFFF_FFFF, at=60),
        8000,
        [(0, 65_534, 0), (0, 65_537, 480)],
    ),
    "payloads that do not touch": (
        run(FIVE[:3], step=320, every=40),
        8000,
        [(0, 1000, 0), (0, 1001, 320), (0, 1002, 640)],
    ),
    "beside a wider codec": (
        run([bytes(160)] * 2, pt=9) + run(FIVE[:1], stream=1, at=10),
        16_000,
        [(0, 1000, 0), (1, 1000, 160)],
    ),
    "around a digit": (
        single(FIVE[0])
        + single(b"\x05\x0a\x00\xa0", seq=1001, ts=5000, at=20, pt=101)
        + single(FIVE[1], seq=1002, ts=5320, at=40),
        8000,
        [(0, 1000, 0), (0, 1002, 320)],
    ),
}


@pytest.mark.parametrize(("stored", "rate", "expected"), PLACED.values(), ids=PLACED)
def test_each_packet_lies_in_its_place(stored: bytes, rate: int, expected: list[tuple[int, int, int]]) -> None:
    assert places(stored) == expected
    assert survey(stored).rate == rate


def test_each_packet_is_placed_once() -> None:
    stored = run(noise(1, 5), seq=10) + run(noise(1, 8), seq=12, ts=5000 + 320, at=40)
    timeline = survey(stored)
    assert [(p.ext_seq, len(p.payloads)) for placed, _ in timeline.blocks(packets(stored)) for p in placed] == [
        (10, 5),
        (15, 5),
    ]
    assert timeline.notes.repeats == 3
    assert timeline.notes.packets == {0: 10, 1: 0}


def test_the_floor_waits_for_a_stream_that_is_stored_late() -> None:
    stored = b"".join(run(noise(i, 1), seq=i, ts=160 * i, at=20 * i) for i in range(2 * BLOCK))
    stored += run(noise(1, 5), stream=1, at=100)
    floors = [floor for _, floor in survey(stored).blocks(packets(stored))]
    assert floors == [800, 800, 2 * BLOCK * 160]


def test_an_empty_call_has_no_samples() -> None:
    timeline = survey(b"")
    assert (timeline.samples, timeline.rate, timeline.origin) == (0, 8000, 0)
    assert [placed for placed, _ in timeline.blocks([])] == [[]]
