"""A picture of the sound shows where somebody speaks, on which channel, and how loud."""

from array import array

from media.export.waveform import LOOKED_AT, Peaks


def sound(*channels: list[int]) -> bytes:
    return array("h", [sample for together in zip(*channels, strict=True) for sample in together]).tobytes()


def test_each_channel_has_its_own_peaks():
    peaks = Peaks(2, 8, points=4)
    peaks.give(sound([0, 16384, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, -32768, 0]))
    assert peaks.thousandths() == [[500, 0, 0, 0], [0, 0, 0, 1000]]


def test_the_same_however_it_is_cut():
    whole = [(n * 7919) % 30000 - 15000 for n in range(1000)]
    at_once, bit_by_bit = Peaks(1, 1000, points=30), Peaks(1, 1000, points=30)
    at_once.give(sound(whole))
    for start in range(0, 1000, 7):
        bit_by_bit.give(sound(whole[start : start + 7]))
    assert at_once.thousandths() == bit_by_bit.thousandths()
    assert len(at_once.thousandths()[0]) == 30


def test_a_long_stretch_is_sampled_for_its_peak():
    samples = 100 * LOOKED_AT
    loud = [8192 if n // 3 % 2 else -8192 for n in range(samples)]
    peaks = Peaks(1, samples, points=1)
    peaks.give(sound(loud))
    assert peaks.thousandths() == [[250]]


def test_samples_beyond_the_announced_length_are_ignored():
    peaks = Peaks(1, 2, points=2)
    peaks.give(sound([100, 100, 32767]))
    assert peaks.thousandths() == [[3, 3]]


def test_a_call_without_a_sample_has_no_peaks():
    assert Peaks(2, 0).thousandths() == [[], []]
