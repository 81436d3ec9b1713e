"""The call as the API shows it, as the vault keeps its records, and as a row of the index."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from personal import Personal
from recorder.session import commands as c
from recorder.session import document_builder
from recorder.session import events as e
from recorder.session.index_row import forms_of, row_of
from sip.sdp.description import Format
from storage.calls.call_document import COLUMNS
from storage.calls.call_row import CallState
from tests.in_process.offers import NOON, request

DOCUMENT: dict[str, Any] = {
    "id": "11111111-2222-4333-8444-555555555555",
    "state": "complete",
    "started_at": "2026-03-01T12:00:00.000Z",
    "ended_at": "2026-03-01T12:01:00.000Z",
    "duration_ms": 60_000,
    "size_bytes": 5,
    "parties": [{"name": "Alice", "uri": "sip:+4930100@pbx.example", "number": "+4930100"}],
}


def document(**more: Any) -> Any:
    """Make the document of a call."""
    return {**DOCUMENT, **more}


def test_figures_have_times_and_lack_what_only_we_need() -> None:
    shown = document_builder.figures({})
    assert (shown["packets"], shown["mos"], shown["gaps"], shown["first_packet_at"]) == (0, None, [], None)
    shown = document_builder.figures(
        {"stream": 1, "sources": 2, "gaps": [(0, 1_000_000_000, "loss")], "first_arrival": 10**18}
    )
    assert shown["gaps"] == [["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:01.000Z", "loss"]]
    assert (shown["first_packet_at"], shown["last_packet_at"]) == ("2001-09-09T01:46:40.000Z", None)
    assert not {"stream", "sources", "first_arrival"} & set(shown)


@pytest.mark.parametrize(
    ("names", "codec"), [(("telephone-event", "PCMA"), "PCMA"), (("CN",), "CN"), (("",), None), ((), None)]
)
def test_events_and_comfort_noise_are_no_codecs(names: tuple[str, ...], codec: str | None) -> None:
    assert document_builder.codec([Format(n, name, 8000, 1, None) for n, name in enumerate(names)]) == codec


def test_messages_and_events_are_kept_with_their_time() -> None:
    kept = json.loads(document_builder.message(request("BYE", 7), NOON))
    assert (kept["at"], kept["method"]) == ("2026-03-01T12:00:00.000Z", "BYE")
    assert ["CSeq", "7 BYE"] in kept["headers"]
    resumed = json.loads(document_builder.happening("resumed", NOON, part="m2"))
    assert resumed == {"at": "2026-03-01T12:00:00.000Z", "kind": "resumed", "part": "m2"}
    assert document_builder.encode({"x": b"\xff".decode("utf-8", "surrogateescape")}) == b'{"x":"\xff"}'


def test_records_have_the_numbers_and_the_clock_of_the_format() -> None:
    assert [kind.value for kind in c.Kept] == [16, 17, 18, 19, 20]
    assert e.Now(datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC), 1.0).ns == 1_772_366_400_250_000_000


def test_what_stands_in_columns_is_not_sealed_too() -> None:
    row = row_of(document(kept_from="2026-03-08T12:01:00.000Z"), 7)
    assert row.state is CallState.COMPLETE
    assert row.started_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert row.ended_at == datetime(2026, 3, 1, 12, 1, tzinfo=UTC)
    assert row.kept_from == datetime(2026, 3, 8, 12, 1, tzinfo=UTC)
    assert not COLUMNS & set(row.details)
    assert row_of(document(ended_at=None), 7).ended_at is None
    with pytest.raises(ValueError, match="start time"):
        row_of(document(started_at=None), 7)


def test_a_call_is_found_by_its_parties_and_by_shared_names_f8() -> None:
    related = [{"key": Personal(f"ucid:000100100{n}"), "sure": "stated"} for n in range(5)]
    alone, named = forms_of(document(), "DE"), forms_of(document(related=related), "DE")
    assert alone and forms_of(document(parties=[]), "DE") == ()
    assert named == (*alone, "c:ucid:0001001000", "c:ucid:0001001001", "c:ucid:0001001002")
