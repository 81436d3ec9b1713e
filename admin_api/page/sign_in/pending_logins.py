"""Data kept between two pages of somebody who is not signed in yet: for minutes, and used once."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

Thing = TypeVar("Thing")

SECONDS = 600.0
"""Time to find the telephone, install an app, or recall a password at the provider."""
MAX_KEPT = 1000
"""Sign-ins under way; beyond that, the oldest of the network with most has to start again."""
KEY_BYTES = 32


class PendingStore(Protocol[Thing]):
    """A store of values under random keys; raises StorageError if the database of several nodes is away."""

    async def keep(self, thing: Thing, place: str, customer: str = "") -> str:
        """Store a value of a customer; return its key, which only this browser gets.

        `place`: the client's network, so that a network that fills all places takes none from others.
        """

    async def take(self, key: str) -> Thing | None:
        """Return and delete a value; None if it is unknown, used or too old."""


class Pending(Generic[Thing]):
    """Values in the memory of this process (PendingStore)."""

    def __init__(
        self,
        random: Callable[[int], bytes],
        monotonic: Callable[[], float],
        dropped: Callable[[Thing], None] = lambda thing: None,
    ) -> None:
        """Start empty; `dropped` receives each value that is dropped to make room."""
        self._random = random
        self._monotonic = monotonic
        self._dropped = dropped
        self._kept: OrderedDict[str, tuple[float, str, Thing]] = OrderedDict()
        self._of: Counter[str] = Counter()

    async def keep(self, thing: Thing, place: str, customer: str = "") -> str:
        """Store a value, whichever customer's it is."""
        key, now = self._random(KEY_BYTES).hex(), self._monotonic()
        self._kept[key] = (now, place, thing)
        self._of[place] += 1
        while len(self._kept) > MAX_KEPT:
            self._dropped(self._forget(self._surplus(now))[1])
        return key

    async def take(self, key: str) -> Thing | None:
        """Return and delete a value."""
        if key not in self._kept:
            return None
        begun, thing = self._forget(key)
        return thing if self._monotonic() - begun <= SECONDS else None

    def _surplus(self, now: float) -> str:
        """Choose the entry to drop: an expired one, else the oldest of the network with most."""
        first = next(iter(self._kept))
        if now - self._kept[first][0] > SECONDS:
            return first
        most = max(self._of, key=self._of.__getitem__)
        return next(key for key, (_, place, _) in self._kept.items() if place == most)

    def _forget(self, key: str) -> tuple[float, Thing]:
        begun, place, thing = self._kept.pop(key)
        self._of[place] -= 1
        if not self._of[place]:
            del self._of[place]
        return begun, thing
