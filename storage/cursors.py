"""Cursors: text that says where the next page of a list begins, and that clients send back unchanged.

MICROSECONDS.ID            lists by time: erasures, exports, data subject requests
DAY.MICROSECONDS.ID        calls, in base64
NUMBER, or several as N.N  incidents, audit logs
"""

import base64
import binascii
import re

from storage.errors import StorageError
from storage.ids import is_id

_DAY = re.compile("[0-9]{1,5}")
_NUMBER = re.compile("[0-9]{1,18}")
_BY_TIME = re.compile(r"([0-9]{1,17})\.(.{36})")  # 17 digits of microseconds: until the year 5138


class BadCursor(StorageError):
    """The cursor did not come from this list."""

    def __init__(self, message: str = "the cursor was not made here") -> None:
        super().__init__(message)


def by_time(micros: int, id: str) -> str:
    """Return the cursor for the page after this row, in a list sorted by time and id."""
    return f"{micros}.{id}"


def read_by_time(cursor: str) -> tuple[int, str]:
    """Return time and id of the last row of the previous page; raises BadCursor."""
    found = _BY_TIME.fullmatch(cursor)
    if found is None or not is_id(found[2]):
        raise BadCursor
    return int(found[1]), found[2]


def by_day(day: int, micros: int, id: str) -> str:
    """Return the cursor for the page after this row, in a list sorted by day, time and id."""
    return base64.urlsafe_b64encode(f"{day}.{by_time(micros, id)}".encode()).decode().rstrip("=")


def read_by_day(cursor: str) -> tuple[int, int, str]:
    """Return day, time and id of the last row of the previous page; raises BadCursor."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        raise BadCursor from None
    day, _, rest = text.partition(".")
    if not _DAY.fullmatch(day):
        raise BadCursor
    return int(day), *read_by_time(rest)


def by_numbers(*numbers: int) -> str:
    """Return the cursor for the page after these numbers."""
    return ".".join(map(str, numbers))


def read_by_numbers(cursor: str, count: int = 1) -> tuple[int, ...]:
    """Return the numbers at which the previous page ended; raises BadCursor."""
    parts = cursor.split(".")
    if len(parts) != count or not all(map(_NUMBER.fullmatch, parts)):
        raise BadCursor
    return tuple(map(int, parts))
