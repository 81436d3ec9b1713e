"""Cycles go within some seconds; those that were set aside go when there are hardly any calls."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from recorder import garbage as module
from recorder.garbage import (
    AT_ONCE,
    COUNT_SECONDS,
    LOOK_SECONDS,
    OF_A_CALL,
    UNSEEN,
    WHOLE_SECONDS,
    WORTH,
    Garbage,
)


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.self = self


class Leaf:
    """Refers to nothing."""


@pytest.fixture
def here() -> Iterator[tuple[Garbage, dict[str, float]]]:
    state: dict[str, float] = {"now": 0.0, "calls": 1_000}
    before = gc.get_threshold()
    made = Garbage(lambda: state["now"], lambda: int(state["calls"]))
    made.begin()
    yield made, state
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.fixture
def looks() -> Iterator[list[int]]:
    """Give the generation of every look."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def test_what_is_new_is_looked_at_and_set_aside(here: tuple[Garbage, dict[str, float]]) -> None:
    garbage, state = here
    assert gc.get_freeze_count() > 1_000
    lost, kept = weakref.ref(Knot()), Knot()
    state["now"] = LOOK_SECONDS - 1
    garbage.tidy()
    assert lost() is not None
    state["now"] = LOOK_SECONDS
    garbage.tidy()
    assert lost() is None
    assert gc.get_count()[0] < AT_ONCE
    assert not any(each is kept for each in gc.get_objects(generation=0) + gc.get_objects(generation=1))


def test_some_thousand_new_objects_are_looked_at_at_the_next_beat(here: tuple[Garbage, dict[str, float]]) -> None:
    garbage, state = here
    lost, kept = weakref.ref(Knot()), [Leaf() for _ in range(WORTH + 1_000)]
    state["now"] = 1
    garbage.tidy()
    assert lost() is None
    assert gc.get_count()[0] < len(kept) / 10


def test_what_is_much_is_set_aside_unseen(here: tuple[Garbage, dict[str, float]], looks: list[int]) -> None:
    garbage, state = here
    kept = [Leaf() for _ in range(UNSEEN + 1_000)]
    state["now"] = 2 * LOOK_SECONDS - 1
    garbage.tidy()
    assert looks == []
    assert gc.get_count()[0] < len(kept) / 10  # so the interpreter does not look by itself either


def test_cycles_that_were_set_aside_unseen_are_bounded(
    here: tuple[Garbage, dict[str, float]], monkeypatch: pytest.MonkeyPatch, looks: list[int]
) -> None:
    """A flood of connections: each beat brings more than is looked at, and all of it is garbage."""
    garbage, state = here
    monkeypatch.setattr(module, "MOST_LOST", 2 * UNSEEN)
    begun, most = gc.get_freeze_count(), 0
    for _ in range(100):
        knots, live = [Knot() for _ in range(UNSEEN // 4)], [Leaf() for _ in range(UNSEEN)]
        del knots
        state["now"] += 1
        garbage.tidy()
        del live
        most = max(most, gc.get_freeze_count() - begun)
    assert most < COUNT_SECONDS * UNSEEN // 4 + 2 * UNSEEN
    assert looks.count(2) == 1  # from then on what is new is looked at however much it is


def test_what_was_set_aside_goes_when_there_are_few_calls(here: tuple[Garbage, dict[str, float]]) -> None:
    garbage, state = here
    knot = Knot()
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


def test_everything_is_not_looked_at_again_soon(here: tuple[Garbage, dict[str, float]]) -> None:
    garbage, state = here
    state.update(now=WHOLE_SECONDS, calls=0)
    garbage.tidy()
    knot = Knot()
    lost = weakref.ref(knot)
    state["now"] += LOOK_SECONDS
    garbage.tidy()
    del knot
    state["now"] += WHOLE_SECONDS - 2 * LOOK_SECONDS
    garbage.tidy()
    assert lost() is not None
    state["now"] += LOOK_SECONDS
    garbage.tidy()
    assert lost() is None


def test_what_calls_do_not_explain_is_looked_at_however_many_there_are(
    here: tuple[Garbage, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    garbage, state = here
    monkeypatch.setattr(module, "MOST_LOST", 2 * OF_A_CALL)
    knots = [Knot() for _ in range(5 * OF_A_CALL)]  # as connections that are open for longer than a beat
    lost = weakref.ref(knots[0])
    state["now"] = LOOK_SECONDS
    garbage.tidy()
    del knots
    state.update(now=COUNT_SECONDS, calls=state["calls"] + 4)
    garbage.tidy()
    assert lost() is not None  # the new calls may have made them
    state["now"] += COUNT_SECONDS - LOOK_SECONDS
    state["calls"] -= 4
    garbage.tidy()
    assert lost() is not None
    state["now"] += LOOK_SECONDS
    garbage.tidy()
    assert lost() is None


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the result of every count of what was set aside."""
    seen: list[int] = []
    count = gc.get_freeze_count

    def noted() -> int:
        seen.append(count())
        return seen[-1]

    monkeypatch.setattr(gc, "get_freeze_count", noted)
    return seen


def test_while_calls_only_go_on_nothing_is_counted(counts: list[int], here: tuple[Garbage, dict[str, float]]) -> None:
    """A count goes through all objects of the process."""
    garbage, state = here
    at_the_start = len(counts)
    for _ in range(10):
        state["now"] += COUNT_SECONDS
        garbage.tidy()
    assert len(counts) == at_the_start


def test_never_more_is_set_aside_than_is_reckoned(here: tuple[Garbage, dict[str, float]]) -> None:
    """Old objects go while new ones come, and the interpreter looks by itself in a burst."""
    garbage, state = here
    kept: list[Knot | Leaf] = [Leaf() for _ in range(UNSEEN)]
    for many in (10, WORTH + 1_000, UNSEEN + 1_000, AT_ONCE + 1_000, 10):
        fresh = [Leaf() for _ in range(many // 2)] + [Knot() for _ in range(many - many // 2)]
        del kept[::2]
        kept += fresh
        del fresh
        state["now"] += LOOK_SECONDS
        garbage.tidy()
        assert gc.get_freeze_count() <= garbage._most
