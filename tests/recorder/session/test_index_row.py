"""From a document to its row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from personal import Personal
from recorder.session.index_row import forms_of, parse_time, row_of
from storage.calls.call_document import COLUMNS, wrapped
from storage.calls.call_row import CallState

DOCUMENT: Any = wrapped(
    {
        "id": "11111111-2222-4333-8444-555555555555",
        "state": "complete",
        "started_at": "2026-03-01T12:00:00.000Z",
        "ended_at": "2026-03-01T12:01:00.000Z",
        "duration_ms": 60_000,
        "size_bytes": 5,
        "parties": [{"name": "Alice", "uri": "sip:+4930100@pbx.example", "number": "+4930100"}],
    }
)


def test_what_stands_in_columns_is_not_sealed_too() -> None:
    row = row_of({**DOCUMENT, "kept_from": "2026-03-08T12:01:00.000Z"}, 7)
    assert row.state is CallState.COMPLETE
    assert row.ended_at == datetime(2026, 3, 1, 12, 1, tzinfo=UTC)
    assert row.kept_from == datetime(2026, 3, 8, 12, 1, tzinfo=UTC)
    assert not COLUMNS & set(row.details)


def test_a_live_call_has_no_end() -> None:
    assert row_of({**DOCUMENT, "ended_at": None}, 7).ended_at is None


def test_a_call_without_a_start_time_has_no_row() -> None:
    with pytest.raises(ValueError, match="start time"):
        row_of({**DOCUMENT, "started_at": None}, 7)


def test_the_index_row_makes_parties_searchable() -> None:
    assert forms_of(DOCUMENT, "DE")
    assert forms_of({**DOCUMENT, "parties": []}, "DE") == ()


def test_times_are_read_as_they_are_written() -> None:
    assert parse_time("2026-03-01T12:00:00.000Z") == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert parse_time(None) is None


def test_recordings_of_one_call_are_found_by_shared_names_f8() -> None:
    related = [{"key": Personal(f"ucid:000100100{n}"), "sure": "stated"} for n in range(5)]
    alone, named = forms_of(DOCUMENT, "DE"), forms_of({**DOCUMENT, "related": related}, "DE")
    assert named == (*alone, "c:ucid:0001001000", "c:ucid:0001001001", "c:ucid:0001001002")
