"""Cache of recently rendered files, so that a seeking player does not have the call rendered for every range.

The files are in memory, without a name on any disk, for SECONDS after the last reader left. Every request is
authorised and looked up in the index first, so nobody gets an erased call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from admin_api.errors import AdminApiError

SECONDS = 15.0
"""A player seeks within seconds; until then, an hour of stereo FLAC holds 60 MB."""
LOOK_SECONDS = 1.0
"""Seconds between checks whether the call of a file without readers was erased."""
HEAVY = 512 << 20
"""Byte limit of one customer's files: above it, a new one is rendered only if idle ones can be dropped."""

Key = tuple[str, str, str]
"""Customer, call, format."""


T = TypeVar("T")


@dataclass(slots=True)
class Kept(Generic[T]):
    """One rendered file with its readers."""

    file: T
    """The rendered file."""
    readers: int = 0
    """The number of current readers."""
    going: asyncio.TimerHandle | None = None
    """The expiry timer; set while nobody reads it."""


class Full(AdminApiError):
    """A customer has reached the limit of files or bytes in memory."""


class RenderCache(Generic[T]):
    """Rendered files by customer, call and format."""

    def __init__(self, most: Callable[[], int], close: Callable[[T], None], weight: Callable[[T], int]) -> None:
        """Keep at most `most()` files of one customer; `close` releases a file, `weight` returns its bytes."""
        self._most = most
        self._close = close
        self._weight = weight
        self._kept: dict[Key, Kept[T]] = {}
        self._making: dict[Key, int] = {}
        # requests that render a file, or wait for it
        self._turns: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    async def take(self, key: Key, make: Callable[[], Awaitable[T]]) -> T:
        """Return the file of a key, rendered now if absent; raises Full, and the errors of `make`.

        Release it with `leave`.
        """
        self._room(key)
        turn = self._turns.setdefault(key, asyncio.Lock())
        self._making[key] = self._making.get(key, 0) + 1
        try:
            async with turn:
                kept = self._kept.get(key)
                if kept is None:
                    kept = self._kept[key] = Kept(await make())
                kept.readers += 1
                if kept.going is not None:
                    kept.going.cancel()
                    kept.going = None
                return kept.file
        finally:
            self._making[key] -= 1
            if not self._making[key]:
                del self._making[key]

    def leave(self, key: Key, *, keep: Callable[[], bool] = lambda: True) -> None:
        """Stop reading; without readers, the file is dropped after SECONDS, or within LOOK_SECONDS of an erasure.

        `keep` says whether it may be kept.
        """
        kept = self._kept[key]
        kept.readers -= 1
        if not kept.readers and keep():
            self._wait(key, keep, SECONDS)
        elif not kept.readers:
            self._drop(key)

    def _wait(self, key: Key, keep: Callable[[], bool], left: float) -> None:
        """Keep a file without readers for this many seconds."""
        pause = min(left, LOOK_SECONDS)
        self._kept[key].going = asyncio.get_running_loop().call_later(pause, self._look, key, keep, left - pause)

    def _look(self, key: Key, keep: Callable[[], bool], left: float) -> None:
        """Drop a file that had no new reader in time, or that may no longer be kept."""
        if left > 0 and keep():
            self._wait(key, keep, left)
        else:
            self._drop(key)

    def _room(self, key: Key) -> None:
        """Make room for a key by dropping files without readers; raises Full."""
        if key in self._kept or key in self._making:
            return
        theirs = [each for each in {*self._kept, *self._making} if each[0] == key[0]]
        idle = [each for each in theirs if each not in self._making and not self._kept[each].readers]
        while len(theirs) >= self._most() or self._heavy(theirs):
            if not idle:
                raise Full
            theirs.remove(idle[0])
            self._drop(idle.pop(0))

    def _heavy(self, keys: list[Key]) -> bool:
        return sum(self._weight(self._kept[key].file) for key in keys if key in self._kept) >= HEAVY

    def _drop(self, key: Key) -> None:
        kept = self._kept.pop(key)
        if kept.going is not None:
            kept.going.cancel()
        self._close(kept.file)
