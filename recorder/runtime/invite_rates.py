"""Limit how many INVITEs a source and a customer may send, with token buckets; pure, time comes in as an argument.

A bucket holds the tokens of BURST_SECONDS, because SBCs send calls in waves (after a fail-over, on the hour); each
INVITE takes one. An INVITE that finds its bucket empty is refused before anything is opened for it.
"""

from __future__ import annotations

from storage.token_buckets import Rate, TokenBuckets

BURST_SECONDS = 2.0
"""A bucket holds the tokens of this many seconds: the largest burst."""


class Rates:
    """One bucket for each key: a node has some dozens of SBCs, a flood has any number of sources."""

    def __init__(self) -> None:
        self._buckets = TokenBuckets()

    def __len__(self) -> int:
        return len(self._buckets)

    def admit(self, key: str, rate: int, now: float) -> bool:
        """Take a token of `key`, which gets `rate` tokens a second (0: no limit); False if there is none.

        `now` in seconds of a monotonic clock.
        """
        return not rate or self._buckets.take(key, Rate(rate, rate * BURST_SECONDS), now) == 0


def within(count: int, limit: int) -> bool:
    """Return whether one more than `count` stays within the limit; 0 means no limit."""
    return not limit or count < limit
