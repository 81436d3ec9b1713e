"""Recordings that should exist but do not or are incomplete, and security events: a bounded list, nothing personal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from recorder.document import rfc3339

KEPT = 10_000
"""Incidents kept; a flood pushes out the oldest, and the metrics still count all."""


@dataclass(slots=True)
class _Entry:
    kind: str
    customer: str | None
    first: datetime
    last: datetime
    count: int
    facts: tuple[tuple[str, Any], ...]


class Incidents:
    """The list; the same incident again within a minute raises its count instead of filling the list."""

    SAME_SECONDS = 60.0

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._entries: deque[_Entry] = deque(maxlen=KEPT)
        self._newest: dict[tuple[str, str | None, tuple[tuple[str, Any], ...]], _Entry] = {}

    def add(self, kind: str, customer: str | None, **facts: Any) -> None:
        """Note an incident; facts are codes, counts and random ids."""
        now = self._clock()
        key = (kind, customer, tuple(sorted(facts.items())))
        known = self._newest.get(key)
        if known and (now - known.last).total_seconds() < self.SAME_SECONDS:
            known.last, known.count = now, known.count + 1
            return
        entry = _Entry(kind, customer, now, now, 1, key[2])
        self._entries.append(entry)
        if len(self._newest) > KEPT:
            self._newest.clear()
        self._newest[key] = entry

    def of(self, customer: str) -> Sequence[dict[str, Any]]:
        """Return the incidents of a customer and those of no customer, newest first."""
        return [
            {
                "kind": x.kind,
                "first_at": rfc3339(x.first),
                "last_at": rfc3339(x.last),
                "count": x.count,
                **dict(x.facts),
            }
            for x in reversed(self._entries)
            if x.customer in (customer, None)
        ]
