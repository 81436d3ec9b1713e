"""Data kept between two pages of somebody who is not signed in yet: for minutes, and used once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

from cachetools import TTLCache

Thing = TypeVar("Thing")

SECONDS = 600.0
"""Time to find the telephone, install an app, or recall a password at the provider."""
MAX_KEPT = 1000
"""Sign-ins under way; beyond that, the oldest of the network with most has to start again."""
KEY_BYTES = 32


class Pending(Generic[Thing]):
    """Values under random keys."""

    def __init__(self, random: Callable[[int], bytes], monotonic: Callable[[], float]) -> None:
        self._random = random
        self._kept: TTLCache[str, tuple[str, Thing]] = TTLCache(MAX_KEPT, SECONDS, monotonic)

    def keep(self, thing: Thing, place: str) -> str:
        """Store a value; return its key, which only this browser gets.

        `place`: the client's network, so that one that fills all places takes none from other networks.
        """
        key = self._random(KEY_BYTES).hex()
        if len(self._kept) == MAX_KEPT:
            places = {kept: whose for kept, (whose, _) in self._kept.items()}
            most = Counter([*places.values(), place]).most_common(1)[0][0]
            self._kept.pop(next(kept for kept, whose in places.items() if whose == most), None)
        self._kept[key] = (place, thing)
        return key

    def take(self, key: str) -> Thing | None:
        """Return and delete a value; None if it is unknown, used or too old."""
        _, thing = self._kept.pop(key, ("", None))
        return thing
