"""Times in the forms that databases and documents use."""

from datetime import UTC, datetime, timedelta
from typing import overload

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC, exact; raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone")
    return (moment - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the time in UTC for microseconds since 1970-01-01 UTC."""
    return EPOCH + timedelta(microseconds=micros)


def to_text(moment: datetime) -> str:
    """Return RFC 3339 text in UTC with microseconds, always 27 characters, so that text order is time order."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds')}Z"  # strftime writes the year 1 as "1" (glibc)


@overload
def rfc3339(at: datetime) -> str: ...
@overload
def rfc3339(at: None) -> None: ...
@overload
def rfc3339(at: datetime | None) -> str | None: ...
def rfc3339(at: datetime | None) -> str | None:
    """Return RFC 3339 text in UTC with milliseconds, for documents and answers."""
    if at is None:
        return None
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def from_text(text: str) -> datetime:
    """Parse an RFC 3339 time; raises ValueError for anything else, or for a time without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone")
    return moment.astimezone(UTC)


def day_of(moment: datetime) -> int:
    """Return whole days since 1970-01-01 UTC."""
    return (moment - EPOCH).days
