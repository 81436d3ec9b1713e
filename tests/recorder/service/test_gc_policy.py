"""Cycles go within some seconds; those that were set aside go when there are hardly any calls."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from recorder.service.gc_policy import AT_ONCE, LOOK_SECONDS, WHOLE_SECONDS, Garbage

pytestmark = pytest.mark.system  # looks at every object of the process again and again, for a minute


class Cycle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.self = self


@pytest.fixture
def here() -> Iterator[tuple[Garbage, dict[str, float]]]:
    state: dict[str, float] = {"now": 0.0, "calls": 1_000}
    before = gc.get_threshold()
    made = Garbage(lambda: state["now"], lambda: int(state["calls"]))
    made.begin()
    yield made, state
    gc.unfreeze()
    gc.set_threshold(*before)


def test_new_objects_are_collected_and_survivors_frozen(here: tuple[Garbage, dict[str, float]]) -> None:
    garbage, state = here
    assert gc.get_freeze_count() > 1_000
    lost, kept = weakref.ref(Cycle()), Cycle()
    state["now"] = LOOK_SECONDS - 1
    garbage.tidy()
    assert lost() is not None
    state["now"] = LOOK_SECONDS
    garbage.tidy()
    assert lost() is None
    assert gc.get_count()[0] < AT_ONCE
    assert not any(each is kept for each in gc.get_objects(generation=0) + gc.get_objects(generation=1))


def test_frozen_garbage_is_collected_when_calls_are_few(here: tuple[Garbage, dict[str, float]]) -> None:
    garbage, state = here
    knot = Cycle()
    lost = weakref.ref(knot)
    state["now"] = LOOK_SECONDS
    garbage.tidy()
    del knot
    state["now"] = WHOLE_SECONDS
    garbage.tidy()
    assert lost() is not None
    state.update(now=WHOLE_SECONDS + LOOK_SECONDS, calls=3)
    garbage.tidy()
    assert lost() is None
