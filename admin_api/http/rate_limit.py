"""Limits for the requests of a token and of an address."""

from __future__ import annotations

from storage.token_buckets import MAX_KEYS, Rate, TokenBuckets

PER_TOKEN = Rate(200.0, 400.0)
"""Requests; twice the rate each token is promised, so clients that keep to 100/s never hit it, however bursty."""

FAILURES_PER_ADDRESS = Rate(100.0, 500.0)
"""Answers that a client with an invalid token gets; beyond that, a flood of guesses gets the short answer."""


class Limiter:
    """A rate limit that is the same for every key."""

    def __init__(self, rate: Rate, max_keys: int = MAX_KEYS) -> None:
        self._rate = rate
        self._buckets = TokenBuckets(max_keys)

    def take(self, key: str, now: float) -> int:
        """Count one request at monotonic time `now`; return 0, or the whole seconds to wait."""
        return self._buckets.take(key, self._rate, now)
