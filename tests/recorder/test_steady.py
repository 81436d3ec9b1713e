"""One try in time is enough, and a time that is always wrong stays wrong."""

from __future__ import annotations

from tests.recorder.steady import steady


def tried(*times: float) -> tuple[float, list[int]]:
    """Give what tries that take these times come to, and which of them there were."""
    numbers: list[int] = []

    def attempt(number: int) -> float:
        numbers.append(number)
        return times[number]

    return steady(attempt, lambda time: time < 5), numbers


def test_a_try_in_time_is_the_last() -> None:
    assert tried(4.0) == (4.0, [0])
    assert tried(9.0, 4.5) == (4.5, [0, 1])


def test_three_tries_too_late_are_a_fault() -> None:
    assert tried(9.0, 8.0, 7.0) == (7.0, [0, 1, 2])
