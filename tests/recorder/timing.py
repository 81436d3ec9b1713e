"""Claims about time on a machine that may be held up: a neighbour spoils one try, a fault spoils each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def steady(attempt: Callable[[int], T], in_time: Callable[[T], bool], tries: int = 3) -> T:
    """Return the first of some tries whose times are right, else the last one; an attempt gets its number."""
    for number in range(tries):
        found = attempt(number)
        if in_time(found):
            break
    return found
