"""Turn a call document into its database row and its search forms; pure."""

from __future__ import annotations

from datetime import datetime

from storage import search_forms
from storage.calls.call_document import CallDocument, sealed_part
from storage.calls.call_row import CallRow, CallState
from storage.timestamps import from_text


def parse_time(text: str | None) -> datetime | None:
    """Parse a time of a document."""
    return from_text(text) if text else None


def row_of(document: CallDocument, leaf: int) -> CallRow:
    """Return the row of a document; the rules of retention say when it ends (storage.retention.policy)."""
    started = parse_time(document["started_at"])
    if started is None:
        raise ValueError("a call without a start time has no row")
    return CallRow(
        id=document["id"],
        leaf=leaf,
        state=CallState(document["state"]),
        started_at=started,
        ended_at=parse_time(document["ended_at"]),
        duration_ms=document["duration_ms"],
        size_bytes=document.get("size_bytes", 0),
        hold=False,
        details=sealed_part(document),
        kept_from=parse_time(document.get("kept_from")),
    )


def forms_of(document: CallDocument, country: str) -> tuple[str, ...]:
    """Return every search form of every party of a call, and of the names it shares with other recordings."""
    names = search_forms.of_names(name["key"] for name in document.get("related", ()))
    return (*search_forms.stored_of(document["parties"], country), *names)
