"""Turn a date in the browser's time zone into the times at which it begins and ends; pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from admin_api.http.messages import Message
from admin_api.http.problems import Problem

_ZONE = re.compile(r"[A-Za-z]+(?:[/_+-][A-Za-z0-9_+-]+){0,3}")


def midnight(day: str) -> str | None:
    """Return the time at which a typed day begins in UTC, None for no text; the API refuses what is no day."""
    return f"{day}T00:00:00Z" if day else None


def begin(text: str, zone: str) -> str | None:
    """Return the RFC 3339 time at which a day begins, None for no text; raises Problem."""
    return _at(_day(text), zone) if text.strip() else None


def end(text: str, zone: str) -> str | None:
    """Return the RFC 3339 time at which a day ends, None for no text; raises Problem."""
    if not text.strip():
        return None
    day = _day(text)
    return _at(day + timedelta(days=1), zone) if day < date.max else None


def in_order(since: str, until: str) -> None:
    """Raise Problem if the first day is after the last one, or one is no date; either may be missing."""
    if since.strip() and until.strip() and _day(since) > _day(until):
        swap = Message("problem.swap-the-days", "No call can match. Swap the two days, or leave one out.")
        raise Problem(422, "invalid", Message("problem.wrong-order", "From comes after To"), swap)


def named(zone: str) -> tzinfo:
    """Return the zone that a browser names, UTC if it is unknown here."""
    if not _ZONE.fullmatch(zone):
        return UTC
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):  # unknown, not a zone, or a folder of zones
        return UTC


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise _no_day() from None


def _at(day: date, zone: str) -> str:
    try:
        at = datetime.combine(day, time(), named(zone)).astimezone(UTC)
    except OverflowError:  # the first day of year 1, east of Greenwich
        raise _no_day() from None
    return at.replace(tzinfo=None).isoformat(timespec="seconds").rjust(19, "0") + "Z"


def _no_day() -> Problem:
    written = Message("problem.write-a-day", "A day is written as 2026-11-25.")
    return Problem(422, "invalid", Message("problem.no-such-day", "No such day"), written)
