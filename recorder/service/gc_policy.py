"""When the interpreter looks for garbage that counting references does not find: a little often, all of it rarely.

A call makes some hundred objects that live as long as it does, and no cycles. The collector's own rule looks at all of
them whenever enough have come together, 100 ms in the middle of an INVITE. So what is new is looked at each time it
is some thousand objects, and then set aside. Where a second brings more than can be looked at in nobody's way, it is
set aside unseen: those are calls. Everything is looked at while there are hardly any calls, or where much more was
set aside than the calls explain: connections leave cycles, and a flood has any number.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

LOOK_SECONDS = 10.0
"""Time after which also a few new objects are looked at."""

WORTH = 10_000
"""New objects that are looked at already at the next beat: 5 to 10 ms."""

UNSEEN = 20_000
"""New objects at a beat beyond which they are set aside unseen: what 150 calls a second bring; 10 to 20 ms."""

AT_ONCE = 200_000
"""Objects after which the interpreter looks by itself, as in a burst between two beats: 0.1 s."""

FEW_CALLS = 20
"""With so few calls a look at everything, 0.1 s, is in nobody's way."""

WHOLE_SECONDS = 600.0
"""And so long it is not repeated: what is found then are some KB."""

COUNT_SECONDS = 20.0
"""Time between two looks at how much was set aside; counted, 20 ms for a million objects, only where it may be much."""

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
        self._wary_until = 0.0  # many cycles were set aside unseen, and more may come
        self._before = (0, 0)  # objects and calls after the last look at everything
        self._most = 0  # objects that were set aside, at most

    def begin(self) -> None:
        """Set aside what the start has made: looking through it would take 50 ms each time."""
        gc.freeze()
        gc.set_threshold(AT_ONCE, 1_000, 1_000)
        gc.enable()
        self._whole_at = self._counted_at = self._looked_at = self._clock()
        self._remember()

    def tidy(self) -> None:
        """Look at what is new, or at everything where that is due; called each second."""
        now = self._clock()
        if self._lost(now) or (now - self._whole_at >= WHOLE_SECONDS and self._calls() <= FEW_CALLS):
            self._look_at_everything(now)
        else:
            self._look_at_new(now)

    def _look_at_new(self, now: float) -> None:
        new = gc.get_count()[0]
        if new > UNSEEN and now >= self._wary_until:
            self._set_aside()
        elif new > WORTH or now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._set_aside(seen=True)

    def _set_aside(self, *, seen: bool = False) -> None:
        """Set aside what is new, without the cycles in it if it is to be `seen`.

        The interpreter's own count is of what was made less what has gone, old or new: so at least what there is more.
        """
        new, looks, _ = gc.get_count()
        self._most += new + looks * AT_ONCE
        if seen:
            gc.collect(0)
        gc.freeze()

    def _look_at_everything(self, now: float) -> None:
        gc.unfreeze()
        if gc.collect() > MOST_LOST // 2:
            self._wary_until = now + WHOLE_SECONDS
        gc.freeze()
        self._whole_at = self._looked_at = now
        self._remember()

    def _remember(self) -> None:
        self._most = gc.get_freeze_count()
        self._before = self._most, self._calls()

    def _lost(self, now: float) -> bool:
        """Tell whether much more was set aside since the last look at everything than calls have come."""
        if now - self._counted_at < COUNT_SECONDS:
            return False
        self._counted_at = now
        objects, calls = self._before
        allowed = objects + MOST_LOST + OF_A_CALL * max(0, self._calls() - calls)
        if self._most > allowed:
            self._most = gc.get_freeze_count()
        return self._most > allowed
