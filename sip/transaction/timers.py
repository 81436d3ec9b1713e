"""The timers of RFC 3261 section 17 and a heap to keep them in.

A timer is named by its owner (a kind and a key) and a letter. Setting it again replaces it; the stale heap entry stays
behind and is skipped when it comes up, so setting and clearing cost no search.
"""

from __future__ import annotations

import heapq
from typing import Any

T1 = 0.5  # round-trip estimate, seconds (RFC 3261 17.1.1.1)
T2 = 4.0  # longest pause between retransmissions of non-INVITE requests and INVITE responses
T4 = 5.0  # longest time a message stays in the network
GIVE_UP = 64 * T1  # timers B, F, H, J, L and the wait for an ACK: 32 s
TRYING_AFTER = 0.2  # an INVITE server answers 100 unless it can answer finally within 200 ms (17.2.1)

# Stale entries are swept once they outnumber the live ones and this floor (a sweep of fewer is not worth it).
SWEEP_FLOOR = 1024

# Kind of owner and its key, which only the owner reads.
Owner = tuple[str, Any]
Due = tuple[Owner, str]
Entry = tuple[float, int, Due]


class Timers:
    """Hold deadlines by (owner, letter), earliest first."""

    __slots__ = ("_count", "_heap", "_live")

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self._live: dict[Due, Entry] = {}  # the entry of the heap that counts
        self._count = 0

    def __len__(self) -> int:
        """Count the timers that will fire."""
        return len(self._live)

    def set(self, owner: Owner, letter: str, at: float) -> None:
        """Let a timer fire at a time; an earlier setting of the same name is forgotten."""
        self._count += 1
        due = (owner, letter)
        self._live[due] = entry = (at, self._count, due)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._live) + SWEEP_FLOOR:
            self._sweep()

    def clear(self, owner: Owner, *letters: str) -> None:
        """Forget timers of an owner; unset ones are ignored."""
        for letter in letters:
            self._live.pop((owner, letter), None)

    def due_at(self, owner: Owner, letter: str) -> float | None:
        """Return when a timer fires, None if it is not set."""
        entry = self._live.get((owner, letter))
        return entry[0] if entry else None

    def next(self) -> float | None:
        """Return the earliest deadline, None if there is none."""
        while self._heap:
            entry = self._heap[0]
            if self._live.get(entry[2]) is entry:
                return entry[0]
            heapq.heappop(self._heap)
        return None

    def pop(self, now: float) -> Due | None:
        """Take the earliest timer that is due, None if none is."""
        at = self.next()
        if at is None or at > now:
            return None
        due = heapq.heappop(self._heap)[2]
        del self._live[due]
        return due

    def _sweep(self) -> None:
        self._heap = list(self._live.values())
        heapq.heapify(self._heap)
