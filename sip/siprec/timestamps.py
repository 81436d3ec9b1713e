"""Times as clients write them (RFC 3339 section 5.6 and variants): text to an aware datetime."""

from __future__ import annotations

import re
from datetime import UTC, datetime

MAX_TIME = 64
"""Characters of a time; a full one with seven digits of fraction has 33."""
_LOOSE = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)[Tt ]\s*(\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r"\s*(?:(?:UTC|GMT)?([+-])(\d\d):?(\d\d)?|[Zz]|UTC|GMT)?\Z",
    re.ASCII,
)


def parse_time(text: str) -> datetime | None:
    """Parse a time; without a zone it counts as UTC. Return None if it is no time."""
    text = text.strip()
    if not 8 <= len(text) <= MAX_TIME or "-" not in text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return _loose(text)
    # Clients that omit the zone mean different ones; we only rely on our own clock.
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _loose(text: str) -> datetime | None:
    found = _LOOSE.match(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    # 60 is a leap second, which datetime cannot hold.
    clock = f"{hour:0>2}:{minute}:{min(int(second or 0), 59):02}.{(fraction or '0')[:6]:0<6}"
    zone = f"{sign}{hours}:{minutes or '00'}" if sign else "+00:00"
    try:
        return datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}T{clock}{zone}")
    except ValueError:
        return None


def store_time(time: datetime | None) -> str | None:
    """Write a time for a checkpoint."""
    return None if time is None else time.isoformat()


def restore_time(text: str | None) -> datetime | None:
    """Restore what `store_time` wrote."""
    return None if text is None else datetime.fromisoformat(text)
