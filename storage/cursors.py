"""Cursors: where the next page of a list begins, as text that clients send back unchanged.

MICROSECONDS.ID        lists by time: erasures, exports, data subject requests; part of those of calls
"""

import re

from storage.errors import StorageError
from storage.ids import is_id

_BY_TIME = re.compile(r"([0-9]{1,17})\.(.{36})")  # 17 digits of microseconds: until the year 5138


class BadCursor(StorageError):
    """The cursor is not one that this list returned."""

    def __init__(self, message: str = "the cursor was not made here") -> None:
        super().__init__(message)


def by_time(micros: int, id: str) -> str:
    """Return the cursor of a page that ends with this row, in a list by time and id."""
    return f"{micros}.{id}"


def read_by_time(cursor: str) -> tuple[int, str]:
    """Return time and id of the last row of the previous page; raises BadCursor."""
    found = _BY_TIME.fullmatch(cursor)
    if found is None or not is_id(found[2]):
        raise BadCursor
    return int(found[1]), found[2]
