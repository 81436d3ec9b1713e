"""A part of a file that is made from front to back: what lies before it is thrown away, what lies behind never made."""

from __future__ import annotations

import json
from collections.abc import Callable

from recorder.render_job import BadJob

MAX_SPAN = 64  # bytes of the line that names one; two numbers of 19 digits need 43


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


def span_to_json(begin: int, end: int) -> bytes:
    """Serialise the part that is wanted, as a line."""
    return json.dumps([begin, end]).encode() + b"\n"


def span_from_json(line: bytes) -> tuple[int, int]:
    """Read the part that is wanted; raise BadJob."""
    try:
        begin, end = json.loads(line)
        return int(begin), int(end)
    except (ValueError, TypeError):
        raise BadJob("the part that is wanted cannot be read") from None
