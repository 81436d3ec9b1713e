"""The timers of RFC 3261 section 17, and a heap that holds them.

A timer is identified by its owner (a kind and a key) and a letter. Setting it again replaces it. The stale heap entry
stays and is skipped when its time comes, so setting and clearing need no search.
"""

from __future__ import annotations

import heapq
from typing import Any

T1 = 0.5  # round-trip estimate, seconds (RFC 3261 17.1.1.1)
T2 = 4.0  # longest pause between retransmissions of non-INVITE requests and INVITE responses
T4 = 5.0  # longest time a message stays in the network
GIVE_UP = 64 * T1  # timers B, F, H, J, L and the wait for an ACK: 32 s
FINAL_AFTER = 180.0  # timer C: longest wait for the final response to an INVITE after a provisional one (16.6)
TRYING_AFTER = 0.2  # an INVITE server answers 100 if no final response comes within 200 ms (17.2.1)

# Stale entries are removed once they outnumber the live ones and this minimum; removing fewer is not worth it.
SWEEP_FLOOR = 1024

# Kind of owner and its key, which only the owner reads.
Owner = tuple[str, Any]
Due = tuple[Owner, str]
Entry = tuple[float, int, Due]


class Timers:
    """Deadlines by (owner, letter), earliest first."""

    __slots__ = ("_count", "_heap", "_live")

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self._live: dict[Due, Entry] = {}  # the heap entry that is valid
        self._count = 0

    def set(self, owner: Owner, letter: str, at: float) -> None:
        """Set the time at which a timer fires, replacing any earlier setting."""
        self._count += 1
        due = (owner, letter)
        self._live[due] = entry = (at, self._count, due)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._live) + SWEEP_FLOOR:
            self._sweep()

    def clear(self, owner: Owner, *letters: str) -> None:
        """Clear timers of an owner; ignore those that are not set."""
        for letter in letters:
            self._live.pop((owner, letter), None)

    def due_at(self, owner: Owner, letter: str) -> float | None:
        """Return when a timer fires, None if it is not set."""
        entry = self._live.get((owner, letter))
        return entry[0] if entry else None

    def next(self) -> float | None:
        """Return the earliest deadline, or None."""
        while self._heap:
            entry = self._heap[0]
            if self._live.get(entry[2]) is entry:
                return entry[0]
            heapq.heappop(self._heap)
        return None

    def pop(self, now: float) -> Due | None:
        """Remove and return the earliest timer that is due, or None."""
        at = self.next()
        if at is None or at > now:
            return None
        due = heapq.heappop(self._heap)[2]
        del self._live[due]
        return due

    def _sweep(self) -> None:
        self._heap = list(self._live.values())
        heapq.heapify(self._heap)
