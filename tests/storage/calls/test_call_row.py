"""The sealed part of a row and the cursor of a list say the same before and after."""

import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.calls.call_row import (
    BadDetails,
    CallRow,
    CallState,
    Direction,
    Position,
    Query,
    canonical_source,
    columns,
    from_columns,
    met,
    pack,
    unpack,
)
from storage.cursors import BadCursor
from storage.search_forms import asked, stored
from tests.storage.index_lists import details

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
ROW = CallRow(ID, 20513 << 32 | 7, CallState.COMPLETE, AT, AT, 5, 6, True, AT, details({"name": "Mira"}))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    max_leaves=4,
)


class Record:
    """A record as the database gives it."""

    def __init__(self, row: CallRow) -> None:
        self.__dict__.update(columns(row))
        self.node = row.node


def test_columns_restore_the_row_and_its_repr_shows_no_details() -> None:
    assert "Mira" not in repr(ROW)
    assert from_columns(Record(ROW), ROW.details) == ROW
    live = CallRow(ID, 1 << 32, CallState.RECORDING, AT, None, 0, 0)
    assert from_columns(Record(live), {}) == live


@given(st.dictionaries(st.text(), json_values), st.lists(st.text()))
def test_details_and_forms_come_back(document: Any, forms: list[str]) -> None:
    assert unpack(pack(document, forms)) == (document, tuple(forms))


def test_half_a_character_comes_back() -> None:
    assert unpack(pack({"client": "anna\ud83d"}, ["w:anna\ud83d"])) == ({"client": "anna\ud83d"}, ("w:anna\ud83d",))


@given(st.binary(max_size=100))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadDetails):
        unpack(data)


def test_a_bomb_is_refused() -> None:
    with pytest.raises(BadDetails):
        unpack(b"\x01" + zlib.compress(b'{"details":{},"forms":["' + bytes(20 << 20)))
    with pytest.raises(BadDetails):
        unpack(b"\x02" + pack({}, [])[1:])
    with pytest.raises(BadDetails):
        pack(details(session_id="y" * (17 << 20)), [])


def test_a_cursor_is_a_position() -> None:
    place = Position.of(ROW)
    assert place == Position(20513, 1772366400_000_000, ID)
    assert Position.parse(str(place)) == place


@given(st.text(max_size=80))
def test_any_other_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        Position.parse(text)


def test_a_search_matches_only_its_own_forms() -> None:
    forms = stored({"name": "Mira Weber"}, "DE")
    assert met(asked("weber", "DE"), forms)
    assert not met(asked("klein", "DE"), forms)


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ("192.0.2.7", " 192.0.2.7 "),
        ("192.0.2.7", "::FFFF:192.0.2.7"),
        ("2001:db8::7", "[2001:0DB8:0::7]"),
        ("sbc1.acme.example", "SBC1.Acme.example"),
    ],
)
def test_a_source_is_the_same_in_every_spelling(given: str, same: str) -> None:
    assert canonical_source(given) == canonical_source(same) != canonical_source("192.0.2.70")
    assert Query(source=same).meets({"source": given}) and not Query(source=same).meets({"source": None})
    assert "192.0.2" not in repr(Query(source=given))


def test_a_direction_that_is_not_known_is_none_of_them() -> None:
    assert Query().meets({}) and Query(direction=Direction.INBOUND).meets({"direction": "inbound"})
    assert not any(Query(direction=each).meets({"direction": None}) for each in Direction)
