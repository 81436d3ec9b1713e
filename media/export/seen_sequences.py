"""Sequence numbers of one source that were already used: a reader takes each packet once, the first copy wins."""

from bisect import bisect_right
from collections.abc import Sequence


class Seen:
    """Runs of sequence numbers; as many entries as there are gaps."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        # the end of each run (exclusive); runs never touch

    def fresh(self, first: int, count: int) -> Sequence[tuple[int, int]]:
        """Mark `count` numbers from `first` on as used; return those that were unused, as (first, count)."""
        end = first + count
        if not self._ends or first > self._ends[-1]:
            self._starts.append(first)
            self._ends.append(end)
            return ((first, count),)
        if first == self._ends[-1]:
            self._ends[-1] = end
            return ((first, count),)
        return self._insert(first, end)

    def _insert(self, first: int, end: int) -> list[tuple[int, int]]:
        """Fill what is free between first and end, and merge adjacent runs."""
        low = max(bisect_right(self._starts, first) - 1, 0)
        if self._ends[low] < first:
            low += 1
        high, at, free = low, first, []
        while high < len(self._starts) and self._starts[high] <= end:
            if self._starts[high] > at:
                free.append((at, self._starts[high] - at))
            at = max(at, self._ends[high])
            high += 1
        if at < end:
            free.append((at, end - at))
        joined_start = min([first, *self._starts[low : low + 1]]) if high > low else first
        joined_end = max(at, end)
        self._starts[low:high] = [joined_start]
        self._ends[low:high] = [joined_end]
        return free
