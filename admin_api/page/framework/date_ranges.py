"""The times at which a date in the browser's time zone begins and ends; pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from admin_api.http.messages import Message
from admin_api.http.problems import Problem
from storage.timestamps import rfc3339

_ZONE = re.compile(r"[A-Za-z]+(?:[/_+-][A-Za-z0-9_+-]+){0,3}")


def midnight(day: str) -> str | None:
    """Return the time at which a typed day begins in UTC, None for no text; the API refuses text that is no day."""
    return f"{day}T00:00:00Z" if day else None


def between(since: str, until: str, zone: str) -> tuple[str | None, str | None]:
    """Return when the first day begins and the last one ends, as RFC 3339 times, None for no text.

    Raises Problem if one is not a date, or the first comes after the last.
    """
    first, last = _day(since), _day(until)
    if first and last and first > last:
        swap = Message("problem.swap-the-days", "No call can match. Swap the two days, or leave one out.")
        raise Problem(422, "invalid", Message("problem.wrong-order", "From comes after To"), swap)
    return _at(first, zone), _at(last + timedelta(days=1) if last and last < date.max else None, zone)


def named(zone: str) -> tzinfo:
    """Return the zone that a browser names, UTC if it is unknown here."""
    if not _ZONE.fullmatch(zone):
        return UTC
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):  # unknown, not a zone, or a folder of zones
        return UTC


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        raise _no_day() from None


def _at(day: date | None, zone: str) -> str | None:
    if day is None:
        return None
    try:
        at = datetime.combine(day, time(), named(zone)).astimezone(UTC)
    except OverflowError:  # the first day of year 1, east of Greenwich
        raise _no_day() from None
    return rfc3339(at)


def _no_day() -> Problem:
    written = Message("problem.write-a-day", "A day is written as 2026-11-25.")
    return Problem(422, "invalid", Message("problem.no-such-day", "No such day"), written)
