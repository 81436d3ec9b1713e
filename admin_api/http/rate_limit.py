"""How many requests a token and an address may send: token buckets over a clock that is given."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """What is allowed to one key."""

    per_second: float
    """Requests a second for any length of time."""
    burst: float
    """Requests at once after a pause."""


PER_TOKEN = Rate(200.0, 400.0)
"""Twice what every token is promised: clients that keep to 100/s never see the limit, however uneven they are."""

FAILURES_PER_ADDRESS = Rate(100.0, 500.0)
"""A client with a revoked token is told so many times; a flood of guesses gets the shorter answer."""

MAX_KEYS = 10_000
"""Buckets kept; the one unused for longest goes, and it is full again by then unless 10,000 others were as busy."""


class Limiter:
    """One bucket for every key."""

    def __init__(self, rate: Rate, max_keys: int = MAX_KEYS) -> None:
        self._rate = rate
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: level, time of it

    def take(self, key: str, now: float) -> int:
        """Take one request at monotonic time `now`; return 0, or after how many whole seconds to come back."""
        level, at = self._buckets.pop(key, (self._rate.burst, now))
        level = min(self._rate.burst, level + max(0.0, now - at) * self._rate.per_second)
        granted = level >= 1.0
        self._buckets[key] = (level - 1.0 if granted else level, now)
        while len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return 0 if granted else max(1, math.ceil((1.0 - level) / self._rate.per_second))
