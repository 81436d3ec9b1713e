"""What is remembered between two pages of somebody who is not signed in yet: for minutes, and taken once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")

SECONDS = 600.0
"""Time to find the telephone, install an app, or remember a password at the provider."""
MAX_KEPT = 1000
"""Who has begun to sign in; the one that began first has to begin again."""
KEY_BYTES = 32


class Pending(Generic[Thing]):
    """Things under random keys."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._kept: OrderedDict[str, tuple[float, Thing]] = OrderedDict()

    def keep(self, thing: Thing, now: float) -> str:
        """Remember something from monotonic time `now` on; return the key that only this browser is told."""
        key = self._random(KEY_BYTES).hex()
        self._kept[key] = (now, thing)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return key

    def take(self, key: str, now: float) -> Thing | None:
        """Return what was kept and forget it; None if it is unknown, taken, or too old."""
        begun, thing = self._kept.pop(key, (None, None))
        return thing if begun is not None and now - begun <= SECONDS else None
