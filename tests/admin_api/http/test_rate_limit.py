"""Token buckets: what is promised is granted, what is beyond is not, and nobody pays for another."""

from hypothesis import given
from hypothesis import strategies as st

from admin_api.http.rate_limit import PER_TOKEN, Limiter
from storage.token_buckets import MAX_KEYS, Rate


def test_a_burst_is_granted_then_the_rate():
    limiter = Limiter(Rate(10.0, 3.0))
    assert [limiter.take("a", 0.0) for _ in range(4)] == [0, 0, 0, 1]
    assert limiter.take("a", 0.1) == 0
    assert limiter.take("a", 0.1) == 1
    assert limiter.take("b", 0.1) == 0


def test_a_hundred_a_second_are_always_granted():
    limiter = Limiter(PER_TOKEN)
    assert not any(limiter.take("a", n / 100) for n in range(3000))
    assert not any(limiter.take("b", n // 100) for n in range(3000))  # all of a second at once


def test_waiting_for_the_retry_time_is_enough():
    limiter = Limiter(Rate(0.25, 1.0))
    assert limiter.take("a", 0.0) == 0
    wait = limiter.take("a", 0.0)
    assert wait == 4
    assert limiter.take("a", float(wait)) == 0


def test_the_rate_limiter_evicts_keys_beyond_its_limit():
    limiter = Limiter(Rate(1.0, 1.0), max_keys=2)
    for key in ("a", "b", "c"):
        assert limiter.take(key, 0.0) == 0
    assert limiter.take("a", 0.0) == 0  # forgotten, so full again
    assert limiter.take("c", 0.0) > 0
    assert MAX_KEYS >= 1000


@given(st.lists(st.floats(0, 5), max_size=200))
def test_never_more_than_burst_and_rate_together(gaps):
    limiter, now, granted = Limiter(Rate(3.0, 5.0)), 0.0, 0
    for gap in gaps:
        now += gap
        granted += limiter.take("a", now) == 0
    assert granted <= 5 + 3 * now + 1


def test_a_clock_that_jumps_back_takes_nothing_away():
    limiter = Limiter(Rate(1.0, 2.0))
    assert limiter.take("a", 100.0) == 0
    assert limiter.take("a", 0.0) == 0
