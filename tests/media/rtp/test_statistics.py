"""Jitter and the E-model at known points."""

import pytest

from media.rtp.statistics import burst_ratio, jitter_of, jitter_of_all, jitter_of_batch, mos, rating


def test_jitter_is_the_same_one_by_one_or_together() -> None:
    deltas, one = [20_500_000, 19_000_000, 25_000_000, 20_000_000], 3e5
    for delta in deltas:
        one = jitter_of(one, delta - 20_000_000)
    assert jitter_of_batch(3e5, deltas, 20_000_000) == pytest.approx(one)
    assert jitter_of_all(3e5, [delta - 20e6 for delta in deltas]) == pytest.approx(one)


def test_ratings_are_those_of_g107_and_the_unknown_has_none() -> None:
    assert rating("PCMA", 0, 1000) == pytest.approx(93.2)
    assert mos("pcmu", 0, 1000) == 4.41
    assert rating("G729", 0, 1) == pytest.approx(82.2)
    assert 1.0 <= mos("PCMU", 500, 1000) < mos("PCMU", 10, 1000) < 4.41  # type: ignore[operator]  # known codecs
    assert mos("EVS", 0, 10) is None
    assert mos("PCMU", 0, 0) is None


@pytest.mark.parametrize("burst", [1.0, 3.0, 12.0])
def test_an_opinion_is_never_below_the_worst_there_is(burst: float) -> None:
    opinions = [mos("PCMA", lost, 1000, burst) for lost in range(1001)]
    assert min(opinions) == 1.0  # type: ignore[type-var]  # a known codec
    assert opinions == sorted(opinions, reverse=True)  # type: ignore[type-var]


def test_bursty_loss_costs_more_than_random_loss() -> None:
    """G.107 section 7.2.2: BurstR is 1 for random loss, whose bursts are 1/(1-p) long."""
    assert burst_ratio(10, 100, 1 / 0.9) == pytest.approx(1.0)
    assert burst_ratio(10, 100, 5.0) == pytest.approx(4.5)
    assert burst_ratio(0, 100, 0.0) == burst_ratio(100, 100, 100.0) == 1.0
    one, many = rating("PCMA", 2, 100, 1.0), rating("PCMA", 2, 100, 5.0)
    assert one is not None and many is not None
    assert one == pytest.approx(93.2 - 95 * 2 / (2 + 4.3))
    assert many == pytest.approx(93.2 - 95 * 2 / (2 / 4.9 + 4.3))
