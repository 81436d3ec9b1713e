"""Calls that a media worker serves between its rounds: those with DTLS handshakes and those being flooded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from recorder.workers.rcvbuf_overflow import Overflow

PAUSE = 0.02
"""Seconds between two runs; a DTLS handshake takes some four flights."""

SHARE = 4
"""A run for handshakes alone is followed by a pause at least so many times as long, so that audio does not wait."""

SPELL = 0.02
"""Seconds after which the other calls have their turn: if a worker cannot keep up, all of its calls are flooded."""


class HandshakePriority:
    """Which calls to serve between two rounds, and when."""

    def __init__(self, overflow: Overflow) -> None:
        self._overflow = overflow
        #: Calls with a handshake in progress.
        self.handshaking: set[str] = set()
        #: Calls left for the next runs.
        self._waiting: deque[str] = deque()
        self._next = 0.0

    @property
    def due(self) -> float:
        """Return when the next run starts, in seconds of a monotonic clock; infinity if no call needs one."""
        return self._next if self.handshaking or self._overflow.hot else inf

    def spell(self, look: Callable[[str], bool], clock: Callable[[], float]) -> float:
        """Serve some calls, leave the others for the next run, and return the seconds that took.

        `look` empties the sockets of a call and tells whether its handshake is still in progress.
        """
        began, took = clock(), 0.0
        if not self._waiting:
            self._waiting.extend({*self.handshaking, *self._overflow.hot})
        while self._waiting and took < SPELL:
            call = self._waiting.popleft()
            if not look(call):
                self.handshaking.discard(call)
            took = clock() - began
        self._next = began + took + (PAUSE if self._overflow.hot else max(PAUSE, SHARE * took))
        return took
