"""How many INVITEs a source and a customer may send, as token buckets: pure, time comes in as an argument.

A bucket holds as many tokens as come in BURST_SECONDS, because SBCs bring their calls in waves (a switch-over, a full
hour); each INVITE takes one. What comes to an empty bucket is refused before anything is opened for it.
"""

from __future__ import annotations

from storage.token_buckets import Rate, TokenBuckets

BURST_SECONDS = 2.0
"""Seconds' worth of INVITEs that may come at once."""


class Rates:
    """One bucket a key: a node has some dozens of SBCs, a flood has any number of sources."""

    def __init__(self) -> None:
        self._buckets = TokenBuckets()

    def __len__(self) -> int:
        return len(self._buckets)

    def admit(self, key: str, rate: int, now: float) -> bool:
        """Take a token of `key`, which gets `rate` a second (0: as many as it likes); False if there is none.

        `now` in seconds of a monotonic clock.
        """
        return not rate or self._buckets.take(key, Rate(rate, rate * BURST_SECONDS), now) == 0


def within(count: int, limit: int) -> bool:
    """Tell whether one more of `count` may be added; a limit of 0 is none."""
    return not limit or count < limit
