"""Write one audit entry a minute, not twenty, for a page view that refreshes itself.

This applies only to refreshes by the page itself (`Authoriser.caller`, which nothing from outside reaches), and only to
the same session and query; the first look is always logged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from admin_api.http.bounded_map import BoundedMap

SECONDS = 60.0
"""Seconds between two entries; the log still shows that somebody had the view open, and until when."""
MAX_KEPT = 5000  # queries remembered; the oldest is dropped, and would be logged again


@dataclass(frozen=True, slots=True)
class Repeat:
    """One look at a view."""

    quiet: bool = False
    """No entry is needed: one was written within the last minute."""
    written: Callable[[], None] = lambda: None
    """Call it once the entry is written; the minute starts then."""


class RecentReads:
    """The queries that were logged recently."""

    def __init__(self) -> None:
        self._written: BoundedMap[bytes, float] = BoundedMap(MAX_KEPT)

    def look(self, token: str, question: str, now: float) -> Repeat:
        """Return the look at monotonic time `now`, which says whether it needs an entry."""
        key = hashlib.sha256(f"{token}\n{question}".encode("utf-8", "surrogateescape")).digest()
        last = self._written.get(key)
        if last is not None and 0 <= now - last < SECONDS:
            self._written.move_to_end(key)
            return Repeat(quiet=True)
        return Repeat(written=lambda: self._written.__setitem__(key, now))
