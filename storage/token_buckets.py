"""Token buckets, which limit how often each of many keys may act; pure, time comes in as an argument."""

import math
from collections import OrderedDict
from dataclasses import dataclass

MAX_KEYS = 10_000
"""Buckets kept. The least recently used one is dropped; by then it is full, unless 10,000 others were as busy."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The limit for one key."""

    per_second: float
    """Tokens a second in the long run."""
    burst: float
    """Tokens available at once after a pause."""


class TokenBuckets:
    """One bucket for each key."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: level, time of that level

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, rate: Rate, now: float) -> int:
        """Take one token at monotonic time `now`; return 0, or the whole seconds to wait before the next try."""
        level, at = self._buckets.pop(key, (rate.burst, now))
        level = min(rate.burst, level + max(0.0, now - at) * rate.per_second)
        granted = level >= 1.0
        self._buckets[key] = (level - 1.0 if granted else level, now)  # the newest is last
        while len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return 0 if granted else max(1, math.ceil((1.0 - level) / rate.per_second))
