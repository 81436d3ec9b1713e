"""Token buckets: what is promised is granted, what is beyond is not, and nobody pays for another."""

from admin_api.http.rate_limit import PER_TOKEN, Limiter
from storage.token_buckets import Rate


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
