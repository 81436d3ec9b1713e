"""How long somebody waits who got in wrong: nothing for the first tries, then twice as long each time, never for ever.

A try is counted before it is judged, so that a hundred at once are a hundred tries.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

MAX_KEYS = 10_000
"""Names and addresses remembered; the one that tried last so long ago as no other goes."""
_MOST = 16
"""Doublings that are computed: more than any term is long."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one kind of key is granted."""

    free: int
    """Tries before the first wait."""
    longest: float
    """Seconds that a wait takes at most."""
    ease: float
    """Seconds after which one failure is forgotten."""


PER_ACCOUNT = Terms(5, 60.0, 300.0)
"""A stranger can make somebody wait for a minute, not keep them out; 1,440 guesses a day find no good password."""
PER_ADDRESS = Terms(20, 900.0, 60.0)
"""An office may come from one address."""
PER_CODE = Terms(5, 900.0, 3600.0)
"""Codes have six digits: whoever has the password already gets some thirty tries a day, of which each is right once in
300,000 times."""


class Patience:
    """Tries of one kind by key."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._kept: OrderedDict[str, tuple[float, float, float]] = OrderedDict()  # key: failures, last try, wait until

    def take(self, key: str, now: float) -> int:
        """Count a try at monotonic time `now` and return 0, or after how many whole seconds it may be made."""
        failures, at, until = self._kept.get(key, (0.0, now, now))
        if now < until:
            return math.ceil(until - now)
        failures = max(0.0, failures - (now - at) / self._terms.ease) + 1
        over = min(failures - self._terms.free, _MOST)
        pause = min(self._terms.longest, 2.0**over) if over >= 0 else 0.0
        self._kept[key] = (failures, now, now + pause)
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEYS:
            self._kept.popitem(last=False)
        return 0

    def passed(self, key: str) -> None:
        """Forget all failures: whoever it is got in."""
        self._kept.pop(key, None)

    def forgive(self, key: str) -> None:
        """Take the last try back: it was right, which says nothing about the ones before."""
        failures, at, _ = self._kept.pop(key, (0.0, 0.0, 0.0))
        if failures > 1:  # what is forgotten takes no place from what is not
            self._kept[key] = (failures - 1, at, at)
