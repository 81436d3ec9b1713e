"""One audit entry a minute instead of twenty, for a page view that refreshes itself.

This applies only to refreshes by the page itself (`Authoriser.caller`, which nothing from outside reaches), and only to
the same session and query; the first look is always logged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TTLCache

SECONDS = 60.0
"""Seconds between two entries; the log still shows that somebody had the view open, and until when."""
MAX_KEPT = 5000  # queries remembered; one that is dropped would be logged again


@dataclass(frozen=True, slots=True)
class Repeat:
    """One look at a view."""

    quiet: bool = False
    """Whether an entry was written within the last minute, so that none is needed."""
    written: Callable[[], None] = lambda: None
    """Called once the entry is written; the minute starts then."""


class RecentReads:
    """The queries that were logged recently."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._written: TTLCache[bytes, bool] = TTLCache(MAX_KEPT, SECONDS, monotonic)

    def look(self, token: str, question: str) -> Repeat:
        """Return the look, with whether it needs an entry."""
        key = hashlib.sha256(f"{token}\n{question}".encode("utf-8", "surrogateescape")).digest()
        if self._written.get(key):
            return Repeat(quiet=True)
        return Repeat(written=lambda: self._written.__setitem__(key, True))
