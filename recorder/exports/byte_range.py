"""A part of a file that is made from front to back: what lies before it is thrown away, what lies behind never made."""

from __future__ import annotations

from collections.abc import Callable


class Reached(Exception):
    """Everything that was wanted is written; not an error."""


class Window:
    """Pass on the bytes from `begin` to `end` of what is written."""

    def __init__(self, give: Callable[[bytes | bytearray | memoryview], object], begin: int, end: int) -> None:
        self._give = give
        self._begin = begin
        self._end = end
        self._at = 0

    def write(self, data: bytes | bytearray) -> None:
        """Take the next bytes of the file; raises Reached at the end of the window."""
        first, last = max(self._begin - self._at, 0), min(self._end - self._at, len(data))
        if first < last:
            self._give(memoryview(data)[first:last])
        self._at += len(data)
        if self._at >= self._end:
            raise Reached
