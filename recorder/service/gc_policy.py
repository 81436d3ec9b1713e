"""When to run the cyclic garbage collector: often on the few new objects, rarely on all of them.

A call makes a few hundred objects that live as long as it does, and no reference cycles. The collector's own rule scans
all objects whenever enough new ones have been made, which takes 100 ms in the middle of an INVITE. So new objects are
collected as soon as there are some thousands, and then frozen (gc.freeze). If one second brings more than can be
scanned without delaying calls, they are frozen unscanned, because they belong to new calls. Everything is scanned when
there are hardly any calls, or when far more objects are frozen than the calls explain: connections leave cycles, and a
flood leaves any number of them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

LOOK_SECONDS = 10.0
"""Scan new objects after this time even if there are only a few."""

WORTH = 10_000
"""Number of new objects that are scanned at the next beat: 5 to 10 ms."""

UNSEEN = 20_000
"""New objects at a beat above which they are frozen unscanned: 150 calls a second make as many; 10 to 20 ms."""

AT_ONCE = 200_000
"""Objects after which the interpreter collects by itself, as in a burst between two beats: 0.1 s."""

FEW_CALLS = 20
"""With at most this many calls a full scan, 0.1 s, disturbs nobody."""

WHOLE_SECONDS = 600.0
"""Least time between two full scans while there are few calls: another would find a few KB."""

COUNT_SECONDS = 20.0
"""Time between two counts of frozen objects; 20 ms for a million objects, so only done if there may be many."""

OF_A_CALL = 500
"""Objects that a call may account for."""

MOST_LOST = 250_000
"""Frozen objects beyond those of the calls after which everything is scanned in any case: some 60 MB."""


class Garbage:
    """Decides at each beat what to scan."""

    def __init__(self, clock: Callable[[], float], calls: Callable[[], int]) -> None:
        self._clock = clock
        self._calls = calls
        self._whole_at = self._counted_at = self._looked_at = 0.0
        self._look_until = 0.0  # many cycles were frozen unscanned, and more may come
        self._before = (0, 0)  # objects and calls after the last full scan
        self._most = 0  # upper limit of the objects that are frozen

    def begin(self) -> None:
        """Freeze what the start has made: scanning it would take 50 ms each time."""
        gc.freeze()
        gc.set_threshold(AT_ONCE, 1_000, 1_000)
        gc.enable()
        self._whole_at = self._counted_at = self._looked_at = self._clock()
        self._remember()

    def tidy(self) -> None:
        """Scan the new objects, or everything if that is due; called each second."""
        now = self._clock()
        if self._lost(now) or (now - self._whole_at >= WHOLE_SECONDS and self._calls() <= FEW_CALLS):
            self._look_at_everything(now)
        else:
            self._look_at_new(now)

    def _look_at_new(self, now: float) -> None:
        new = gc.get_count()[0]
        if new > UNSEEN and now >= self._look_until:
            self._set_aside()
        elif new > WORTH or now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._set_aside(seen=True)

    def _set_aside(self, *, seen: bool = False) -> None:
        """Freeze the new objects; if `seen`, collect the cycles among them first.

        The interpreter counts objects made less objects freed, old or new, so the count is at least the increase.
        """
        new, looks, _ = gc.get_count()
        self._most += new + looks * AT_ONCE
        if seen:
            gc.collect(0)
        gc.freeze()

    def _look_at_everything(self, now: float) -> None:
        gc.unfreeze()
        if gc.collect() > MOST_LOST // 2:
            self._look_until = now + WHOLE_SECONDS
        gc.freeze()
        self._whole_at = self._looked_at = now
        self._remember()

    def _remember(self) -> None:
        self._most = gc.get_freeze_count()
        self._before = self._most, self._calls()

    def _lost(self, now: float) -> bool:
        """Tell whether far more objects were frozen since the last full scan than the new calls explain."""
        if now - self._counted_at < COUNT_SECONDS:
            return False
        self._counted_at = now
        objects, calls = self._before
        allowed = objects + MOST_LOST + OF_A_CALL * max(0, self._calls() - calls)
        if self._most > allowed:
            self._most = gc.get_freeze_count()
        return self._most > allowed
