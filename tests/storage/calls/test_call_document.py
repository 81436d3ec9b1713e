"""The one definition of a call's document, and what builds and shows it."""

from datetime import UTC, datetime
from typing import Any

from admin_api.assembly.openapi import document
from storage.calls.call_document import (
    COLUMNS,
    CallDetailsOf,
    CallDocumentOf,
    PartyOf,
    Stream,
    sealed_part,
    with_parties,
)
from storage.calls.call_row import CallRow, CallState
from tests.storage.index_lists import details

BESIDE = {"held_since", "held_by", "hold_reason", "annotations", "attachments", "recordings", "node", "node_state"}
"""What the API puts beside a document."""


def test_the_api_describes_only_members_of_the_document():
    schemas = document()["components"]["schemas"]
    assert set(schemas["Party"]["properties"]) == set(PartyOf.__annotations__)
    assert set(schemas["Stream"]["properties"]) <= set(Stream.__annotations__)
    assert set(schemas["Call"]["properties"]) - BESIDE <= set(CallDocumentOf.__annotations__)


def test_sealed_members_and_columns_make_the_whole_document():
    shown = CallRow("id", 1, CallState.COMPLETE, datetime(2026, 2, 3, tzinfo=UTC), None, 20, 7).document()
    assert set(shown) == COLUMNS | {"hold", "erase_after"}
    assert shown["started_at"] == "2026-02-03T00:00:00.000Z"
    document: Any = {**{name: shown[name] for name in COLUMNS}, "parties": [], "member of a later version": 1}
    assert sealed_part(document) == {"parties": [], "member of a later version": 1}
    assert not COLUMNS & set(CallDetailsOf.__annotations__)


def test_parties_are_replaced_in_a_copy():
    before, after = details(session_id="s"), details({"name": "Ada"}, session_id="s")
    assert with_parties(before, after["parties"]) == after
    assert before["parties"] == []
