"""Token buckets by source and customer (duty S29)."""

from hypothesis import given
from hypothesis import strategies as st

from recorder.runtime.invite_rates import BURST_SECONDS, Rates, within
from storage.token_buckets import MAX_KEYS


def test_a_burst_passes_and_then_only_the_rate() -> None:
    """Duty S29."""
    rates = Rates()
    assert [rates.admit("sbc", 5, 100.0) for _ in range(12)] == [True] * int(5 * BURST_SECONDS) + [False] * 2
    assert not rates.admit("sbc", 5, 100.1)
    assert rates.admit("sbc", 5, 100.2)
    assert not rates.admit("sbc", 5, 100.2)


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    rates = Rates()
    while rates.admit("sbc", 2, 10.0):
        pass
    assert not rates.admit("sbc", 2, 9.0)
    assert not rates.admit("sbc", 2, 9.4)


def test_many_sources_use_bounded_memory_and_stay_separate() -> None:
    rates = Rates()
    while rates.admit("busy", 1, 0.0):
        pass
    for n in range(MAX_KEYS + 500):
        assert rates.admit(f"source {n}", 1, 0.0)
        if n % 100 == 0:
            assert not rates.admit("busy", 1, 0.0)
    assert len(rates) == MAX_KEYS


@given(st.lists(st.floats(0, 60), max_size=200), st.integers(1, 50))
def test_property_never_more_than_burst_and_rate_allow(moments: list[float], rate: int) -> None:
    rates = Rates()
    passed = [now for now in sorted(moments) if rates.admit("sbc", rate, now)]
    for begin, first in enumerate(passed):
        for end in range(begin, len(passed)):
            assert end - begin + 1 <= rate * (BURST_SECONDS + passed[end] - first) + 1e-6


def test_a_limit_of_0_is_none_and_stores_nothing() -> None:
    rates = Rates()
    assert all(rates.admit("sbc", 0, 0.0) for _ in range(1000))
    assert len(rates) == 0
    assert within(10**6, 0) and within(4, 5) and not within(5, 5)
