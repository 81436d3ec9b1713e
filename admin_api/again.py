"""Looking again: a view of the page that renews itself writes one entry a minute into the audit log and not twenty.

Only for what the page asks by itself (`recorder.again` in the request's scope, which nothing from outside can set),
and only for the same session and the same question; the first look is always written down.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

SECONDS = 60.0
"""One entry for so long; whoever reads the log still sees that somebody had the view open, and until when."""
MAX_KEPT = 5000  # questions remembered; the one written down first goes, and is written down once more


class Again:
    """Which questions were written down a moment ago."""

    def __init__(self) -> None:
        self._written: OrderedDict[bytes, float] = OrderedDict()

    def quiet(self, token: str, question: str, now: float) -> bool:
        """Say whether a look at monotonic time `now` needs no entry; if it needs one, the minute begins anew."""
        key = hashlib.sha256(f"{token}\n{question}".encode("utf-8", "surrogateescape")).digest()
        last = self._written.pop(key, None)
        if last is not None and 0 <= now - last < SECONDS:
            self._written[key] = last
            return True
        self._written[key] = now
        while len(self._written) > MAX_KEPT:
            self._written.popitem(last=False)
        return False
