"""Cycles go within some seconds; those that were set aside go when there are hardly any calls."""

from __future__ import annotations

import gc
import weakref

import pytest

from recorder.service.gc_policy import AT_ONCE, LOOK_SECONDS, WHOLE_SECONDS, Garbage

pytestmark = pytest.mark.system  # looks at every object of the process again and again, for a minute


class Cycle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.self = self


def test_survivors_are_frozen_until_calls_are_few() -> None:
    state: dict[str, float] = {"now": 0, "calls": 1_000}
    before = gc.get_threshold()
    garbage = Garbage(lambda: state["now"], lambda: int(state["calls"]))
    garbage.begin()
    try:
        assert gc.get_freeze_count() > 1_000
        knot = Cycle()
        young, kept = weakref.ref(Cycle()), weakref.ref(knot)
        found = []
        for now, calls in ((LOOK_SECONDS - 1, 1_000), (LOOK_SECONDS, 1_000), (WHOLE_SECONDS, 1_000)):
            state.update(now=now, calls=calls)
            garbage.tidy()
            found.append((young() is None, kept() is None))
            if now == LOOK_SECONDS:
                assert gc.get_count()[0] < AT_ONCE
                assert not any(each is knot for each in gc.get_objects(generation=0) + gc.get_objects(generation=1))
                del knot
        state.update(now=WHOLE_SECONDS + LOOK_SECONDS, calls=3)
        garbage.tidy()
        assert (found, kept()) == ([(False, False), (True, False), (True, False)], None)
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
