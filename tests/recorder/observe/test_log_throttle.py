"""One line per key and second; nothing that was held back is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.observe.log_throttle import MAX_KEYS, RateLimit


def test_repeated_lines_within_a_second_are_counted() -> None:
    limit = RateLimit()
    assert limit.admit("a", 0.0) == 0
    assert [limit.admit("a", now) for now in (0.1, 0.5, 0.99)] == [None, None, None]
    assert limit.admit("b", 0.5) == 0
    assert limit.admit("a", 1.0) == 3
    assert limit.admit("a", 2.0) == 0


def test_a_count_without_a_later_line_is_reported_once() -> None:
    limit = RateLimit()
    for now in (0.0, 0.1, 0.2):
        limit.admit("a", now)
    assert limit.due(0.5) == []
    assert limit.due(1.5) == [("a", 2)]
    assert limit.due(9.0) == []


def test_a_line_that_another_limit_held_back_is_owed_too() -> None:
    limit = RateLimit()
    for now in (0.0, 0.1, 1.2):
        held = limit.admit("a", now)
    assert held == 1
    limit.hold_back("a", held + 1)
    limit.hold_back("nobody", 7)
    assert limit.admit("a", 2.5) == 2


def test_the_log_throttle_keeps_a_bounded_number_of_keys() -> None:
    limit = RateLimit()
    for number in range(MAX_KEYS + 1):
        limit.admit(number, 0.0)
    assert limit.admit(1, 0.5) is None, "the newest are kept"
    assert limit.admit(0, 0.5) == 0, "and the oldest is forgotten"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=60))
def test_a_property_nothing_is_lost(calls: list[tuple[str, float]]) -> None:
    limit = RateLimit()
    now, written, counted = 0.0, 0, 0
    for key, pause in calls:
        now += pause
        held = limit.admit(key, now)
        written, counted = written + (held is not None), counted + (held or 0)
    assert written + counted + sum(count for _, count in limit.due(now + 2)) == len(calls)
