"""One log line per key and second; what was held back is counted, so a flood cannot fill the disk or hide itself."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

MAX_KEYS = 4096  # keys remembered at once; a flood from more sources than that shares the oldest's fate


@dataclass(slots=True)
class _Seen:
    """When a key was last let through, and how often it was held back since."""

    at: float
    held: int = 0


class RateLimit:
    """Decides which repetitions of a line are written; time comes in as seconds of a monotonic clock."""

    def __init__(self, *, pause: float = 1.0) -> None:
        self._pause = pause
        self._keys: dict[Hashable, _Seen] = {}

    def admit(self, key: Hashable, now: float) -> int | None:
        """Return how many of this key were held back before this one, or None to hold this one back too."""
        seen = self._keys.get(key)
        if seen is not None and now - seen.at < self._pause:
            seen.held += 1
            return None
        held = seen.held if seen else 0
        self._keys.pop(key, None)
        while len(self._keys) >= MAX_KEYS:
            del self._keys[next(iter(self._keys))]
        self._keys[key] = _Seen(now)
        return held

    def hold_back(self, key: Hashable, count: int) -> None:
        """Take back what `admit` has just let through: somebody else held it back, and the next line counts it."""
        seen = self._keys.get(key)
        if seen is not None:
            seen.held += count

    def due(self, now: float) -> list[tuple[Hashable, int]]:
        """Return (key, count) of what was held back and is not followed by a line; forget keys that went quiet."""
        quiet = [key for key, seen in self._keys.items() if now - seen.at >= self._pause]
        held = [(key, self._keys[key].held) for key in quiet if self._keys[key].held]
        for key in quiet:
            del self._keys[key]
        return held
