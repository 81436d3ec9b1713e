"""When the interpreter looks for garbage that counting references does not find: often a little, rarely all of it.

A call makes some thousand objects that live as long as it does, and no cycles. The collector's own rule looks at all of
them whenever enough have come together, 100 ms in the middle of an INVITE. So what is new is looked at every few
seconds, when the objects of short calls are gone again, and then set aside; everything is looked at while there are
hardly any calls, or where much more was set aside than the calls explain: connections that were open at a look leave
cycles, and a flood has any number.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

LOOK_SECONDS = 10.0
"""Time between two looks at what is new: some ms; each second it were a tenth of what a call of a second costs."""

AT_ONCE = 200_000
"""Objects after which the interpreter looks by itself, as in a burst between two looks: 20 ms."""

FEW_CALLS = 20
"""With so few calls a look at everything, 0.1 s, is in nobody's way."""

WHOLE_SECONDS = 600.0
"""And so long it is not repeated: what is found then are some KB."""

COUNT_SECONDS = 120.0
"""Time between two counts of what was set aside: 20 ms for a million objects."""

OF_A_CALL = 500
"""Objects that a call may have."""

MOST_LOST = 250_000
"""Objects beyond those of the calls after which everything is looked at all the same: some 60 MB."""


class Garbage:
    """Decides at each beat what is looked at."""

    def __init__(self, clock: Callable[[], float], calls: Callable[[], int]) -> None:
        self._clock = clock
        self._calls = calls
        self._whole_at = self._counted_at = self._looked_at = 0.0
        self._before = (0, 0)  # objects and calls after the last look at everything

    def begin(self) -> None:
        """Set aside what the start has made: looking through it would take 50 ms each time."""
        gc.freeze()
        gc.set_threshold(AT_ONCE, 1_000, 1_000)
        gc.enable()
        self._whole_at = self._counted_at = self._looked_at = self._clock()
        self._before = gc.get_freeze_count(), self._calls()

    def tidy(self) -> None:
        """Look at what is new, or at everything where that is due; called each second, does it every few."""
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if (now - self._whole_at >= WHOLE_SECONDS and self._calls() <= FEW_CALLS) or self._lost(now):
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._whole_at, self._before = now, (gc.get_freeze_count(), self._calls())
        else:
            gc.collect(0)
            gc.freeze()

    def _lost(self, now: float) -> bool:
        """Tell whether much more was set aside since the last look at everything than calls have come."""
        if now - self._counted_at < COUNT_SECONDS:
            return False
        self._counted_at = now
        objects, calls = self._before
        return gc.get_freeze_count() - objects > MOST_LOST + OF_A_CALL * max(0, self._calls() - calls)
