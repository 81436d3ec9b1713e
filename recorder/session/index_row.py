"""From a call's document to its row in the database and the forms it is found by; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from storage import search_forms
from storage.calls.call_document import sealed_part
from storage.calls.call_row import CallRow, CallState


def parse_time(text: str | None) -> datetime | None:
    """Read a time of a document."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def row_of(document: Mapping[str, Any], leaf: int, retention_days: int | None) -> CallRow:
    """Return the row of a document; retention counts from the end of the call, None keeps it for ever."""
    started, ended = parse_time(document["started_at"]), parse_time(document["ended_at"])
    later = parse_time(document.get("kept_from"))
    if started is None:
        raise ValueError("a call without a beginning has no row")
    return CallRow(
        id=document["id"],
        leaf=leaf,
        state=CallState(document["state"]),
        started_at=started,
        ended_at=ended,
        duration_ms=document["duration_ms"],
        size_bytes=document.get("size_bytes", 0),
        hold=False,
        erase_after=_after(ended, later, retention_days),
        details=sealed_part(document),
        kept_from=later,
    )


def _after(ended: datetime | None, later: datetime | None, days: int | None) -> datetime | None:
    return None if ended is None or days is None else max(ended, later or ended) + timedelta(days=days)


def forms_of(document: Mapping[str, Any], country: str) -> tuple[str, ...]:
    """Return every search form of every party of a call, and of the names it shares with other recordings."""
    names = search_forms.of_names(name["key"] for name in document.get("related", ()))
    return (*search_forms.stored_of(document["parties"], country), *names)
