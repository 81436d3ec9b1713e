"""Limit log lines to one for each key and second, and count the rest, so that floods stay small and visible."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

MAX_KEYS = 4096  # keys remembered at once; in a flood from more sources the oldest key is forgotten


@dataclass(slots=True)
class _Seen:
    """When a line of a key was last written, and how many were held back since."""

    at: float
    held: int = 0


class RateLimit:
    """Decides which repeated lines are written; time comes in as seconds of a monotonic clock."""

    def __init__(self, *, pause: float = 1.0) -> None:
        self._pause = pause
        self._keys: dict[Hashable, _Seen] = {}

    def admit(self, key: Hashable, now: float) -> int | None:
        """Return how many lines of this key were held back before this one, or None to hold this one back too."""
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
        """Undo what `admit` has just allowed: another limit held the line back, and the next line counts it."""
        seen = self._keys.get(key)
        if seen is not None:
            seen.held += count

    def due(self, now: float) -> list[tuple[Hashable, int]]:
        """Return (key, count) of lines held back that no later line reported; forget keys that are no longer used."""
        quiet = [key for key, seen in self._keys.items() if now - seen.at >= self._pause]
        held = [(key, self._keys[key].held) for key in quiet if self._keys[key].held]
        for key in quiet:
            del self._keys[key]
        return held
