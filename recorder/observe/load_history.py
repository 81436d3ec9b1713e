"""The last hour of the node in figures, for the plots of the admin page; pure, bounded, nothing personal.

One sample every EVERY_SECONDS, at most KEPT of them; an hour of 50 busy customers takes some 600 KiB.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

EVERY_SECONDS = 10.0
KEPT = 360


@dataclass(frozen=True, slots=True)
class Sample:
    """The node at one moment."""

    at: datetime
    """When."""
    calls: int
    """Calls being recorded."""
    free_bytes: int
    """Free space on the disk of the recordings."""
    busy: float
    """Busy share of the busiest media worker, 0 to 1."""
    of_customers: Mapping[str, int] = field(default_factory=dict)
    """Calls being recorded, by customer; customers without calls are left out."""


class History:
    """The newest samples."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._next = 0.0

    def due(self, now: float) -> bool:
        """Return whether a sample is due at monotonic time `now`; if so, the next one is due EVERY_SECONDS later."""
        if now < self._next:
            return False
        self._next = now + EVERY_SECONDS
        return True

    def add(self, sample: Sample) -> None:
        """Keep a sample; the oldest one is dropped if there are too many."""
        self._samples.append(sample)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Return all, oldest first."""
        return tuple(self._samples)
