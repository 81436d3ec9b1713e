"""A picture of the sound shows where somebody speaks, on which channel, and how loud."""

from array import array

import pytest

from media.export.waveform import LOOKED_AT, Peaks


def sound(*channels: list[int]) -> bytes:
    return array("h", [sample for together in zip(*channels, strict=True) for sample in together]).tobytes()


SAMPLES = 100 * LOOKED_AT


@pytest.mark.parametrize(
    ("channels", "announced", "points", "shown"),
    [
        ([[0, 16384, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, -32768, 0]], 8, 4, [[500, 0, 0, 0], [0, 0, 0, 1000]]),
        ([[8192 if n // 3 % 2 else -8192 for n in range(SAMPLES)]], SAMPLES, 1, [[250]]),
        ([[100, 100, 32767]], 2, 2, [[3, 3]]),
    ],
    ids=["each channel has its own", "a long stretch is sampled", "what lies beyond the announced length is ignored"],
)
def test_peaks_are_those_of_the_sound(
    channels: list[list[int]], announced: int, points: int, shown: list[list[int]]
) -> None:
    peaks = Peaks(len(channels), announced, points=points)
    peaks.give(sound(*channels))
    assert peaks.thousandths() == shown
    assert Peaks(2, 0).thousandths() == [[], []]


def test_the_same_however_it_is_cut():
    whole = [(n * 7919) % 30000 - 15000 for n in range(1000)]
    at_once, bit_by_bit = Peaks(1, 1000, points=30), Peaks(1, 1000, points=30)
    at_once.give(sound(whole))
    for start in range(0, 1000, 7):
        bit_by_bit.give(sound(whole[start : start + 7]))
    assert at_once.thousandths() == bit_by_bit.thousandths()
    assert len(at_once.thousandths()[0]) == 30
