"""Calls that a media worker cannot let wait for their turn: those that shake hands, and those that somebody floods."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from recorder.workers.rcvbuf_overflow import Overflow

PAUSE = 0.02
"""Seconds between two spells; a DTLS handshake is some four flights long."""

SHARE = 4
"""A spell for handshakes alone is followed by a pause so many times as long at least: audio is not made to wait."""

SPELL = 0.02
"""Seconds after which the others have their turn: where a worker cannot keep up, all of its calls are flooded."""


class HandshakePriority:
    """Whom to look after between two turns, and when."""

    def __init__(self, overflow: Overflow) -> None:
        self._overflow = overflow
        #: Calls whose handshakes are under way.
        self.shaking: set[str] = set()
        #: Those that are left for the next spells.
        self._waiting: deque[str] = deque()
        self._next = 0.0

    @property
    def due(self) -> float:
        """Return when the next spell begins, in seconds of a monotonic clock; infinity if nobody needs one."""
        return self._next if self.shaking or self._overflow.hot else inf

    def spell(self, look: Callable[[str], bool], clock: Callable[[], float]) -> float:
        """Look after some of them, the others in the next spell, and return the seconds that took.

        `look` empties the sockets of a call and tells whether it still shakes hands.
        """
        began, took = clock(), 0.0
        if not self._waiting:
            self._waiting.extend({*self.shaking, *self._overflow.hot})
        while self._waiting and took < SPELL:
            call = self._waiting.popleft()
            if not look(call):
                self.shaking.discard(call)
            took = clock() - began
        self._next = began + took + (PAUSE if self._overflow.hot else max(PAUSE, SHARE * took))
        return took
