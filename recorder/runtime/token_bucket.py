"""How many INVITEs a source and a customer may send, as token buckets: pure, time comes in as an argument.

A bucket holds as many tokens as come in BURST_SECONDS, because SBCs bring their calls in waves (a switch-over, a full
hour); each INVITE takes one. What comes to an empty bucket is refused before anything is opened for it.
"""

from __future__ import annotations

from dataclasses import dataclass

BURST_SECONDS = 2.0
"""Seconds' worth of INVITEs that may come at once."""

MAX_KEYS = 10_000
"""Buckets remembered; a node has some dozens of SBCs, a flood has any number of sources. The oldest begins anew."""


@dataclass(slots=True)
class _Bucket:
    """What is left, and when it was filled up last."""

    tokens: float
    at: float


class Rates:
    """One bucket a key."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def admit(self, key: str, rate: int, now: float) -> bool:
        """Take a token of `key`, which gets `rate` a second (0: as many as it likes); False if there is none.

        `now` in seconds of a monotonic clock.
        """
        if not rate:
            return True
        bucket = self._buckets.pop(key, None)
        full = rate * BURST_SECONDS
        if bucket is None:
            if len(self._buckets) >= MAX_KEYS:
                del self._buckets[next(iter(self._buckets))]
            bucket = _Bucket(full, now)
        self._buckets[key] = bucket  # the newest stands last
        bucket.tokens = min(full, bucket.tokens + max(0.0, now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def within(count: int, limit: int) -> bool:
    """Tell whether one more of `count` may be added; a limit of 0 is none."""
    return not limit or count < limit
