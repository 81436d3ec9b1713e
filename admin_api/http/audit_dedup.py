"""Looking again: a view of the page that renews itself writes one entry a minute into the audit log and not twenty.

Only for what the page asks by itself (`recorder.again` in the request's scope, which nothing from outside can set),
and only for the same session and the same question; the first look is always written down.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

SECONDS = 60.0
"""One entry for so long; whoever reads the log still sees that somebody had the view open, and until when."""
MAX_KEPT = 5000  # questions remembered; the one written down first goes, and is written down once more


@dataclass(frozen=True, slots=True)
class Repeat:
    """One look at something."""

    quiet: bool = False
    """It needs no entry: there was one a moment ago."""
    written: Callable[[], None] = lambda: None
    """To be called once it was written down that something was shown, from when on the minute counts."""


class RecentReads:
    """Which questions were written down a moment ago."""

    def __init__(self) -> None:
        self._written: OrderedDict[bytes, float] = OrderedDict()

    def look(self, token: str, question: str, now: float) -> Repeat:
        """Say whether a look at monotonic time `now` needs an entry."""
        key = hashlib.sha256(f"{token}\n{question}".encode("utf-8", "surrogateescape")).digest()
        last = self._written.get(key)
        if last is not None and 0 <= now - last < SECONDS:
            self._written.move_to_end(key)
            return Repeat(quiet=True)
        return Repeat(written=lambda: self._keep(key, now))

    def _keep(self, key: bytes, now: float) -> None:
        self._written[key] = now
        self._written.move_to_end(key)
        while len(self._written) > MAX_KEPT:
            self._written.popitem(last=False)
