"""How many requests a token and an address may send."""

from __future__ import annotations

from storage.token_buckets import MAX_KEYS, Rate, TokenBuckets

PER_TOKEN = Rate(200.0, 400.0)
"""Twice what every token is promised: clients that keep to 100/s never see the limit, however uneven they are."""

FAILURES_PER_ADDRESS = Rate(100.0, 500.0)
"""A client with a revoked token gets so many answers; a flood of guesses gets the shorter answer."""


class Limiter:
    """The same rate for every key."""

    def __init__(self, rate: Rate, max_keys: int = MAX_KEYS) -> None:
        self._rate = rate
        self._buckets = TokenBuckets(max_keys)

    def take(self, key: str, now: float) -> int:
        """Take one request at monotonic time `now`; return 0, or after how many whole seconds to come back."""
        return self._buckets.take(key, self._rate, now)
