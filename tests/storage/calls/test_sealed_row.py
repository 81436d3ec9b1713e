"""The sealed part of a row opens for its own call only."""

import pytest

from storage.calls.call_row import CallRow, CallState, Direction, Query, columns, pack
from storage.calls.sealed_row import Batch, open_row
from storage.errors import SealBroken
from storage.keys.key_store import CustomerKeys
from storage.keys.row_keys import LABEL_DETAILS, context
from storage.search_forms import Needle
from storage.timestamps import from_micros
from tests.plain_values import plain
from tests.storage.index_lists import details

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


class Record:
    """A record as the database gives it."""

    id: str
    leaf: int
    node = 0

    def __init__(self, keys: CustomerKeys, leaf: int) -> None:
        row = CallRow(ID, leaf, CallState.COMPLETE, from_micros(5), None, 0, 0)
        self.__dict__.update(columns(row))
        self.sealed = keys.seal(leaf, LABEL_DETAILS, pack(details(session_id="s"), ["w:x"]), context(ID))


def test_a_row_opens_with_details_and_forms(keys: CustomerKeys) -> None:
    opened = open_row(keys, Record(keys, keys.allocate(20513)))
    assert opened is not None
    assert plain(opened[0].details) == {"parties": [], "session_id": "s"}
    assert opened[1] == ("w:x",)


def test_a_row_of_a_cut_leaf_is_not_there(keys: CustomerKeys) -> None:
    record = Record(keys, keys.allocate(20513))
    keys.cut(record.leaf)
    assert open_row(keys, record) is None


def test_an_export_row_does_not_open_under_another_id(keys: CustomerKeys) -> None:
    record = Record(keys, keys.allocate(20513))
    record.id = OTHER
    with pytest.raises(SealBroken):
        open_row(keys, record)


def test_a_batch_skips_erased_damaged_and_other_rows(keys: CustomerKeys) -> None:
    good, cut, damaged = (Record(keys, keys.allocate(20513)) for _ in range(3))
    keys.cut(cut.leaf)
    damaged.sealed = damaged.sealed[:-1]
    batch = Batch(9, keys, [good, cut, damaged], Query(), None)
    assert (batch.total, len(batch)) == (9, 3)
    assert [row.leaf for row in batch.open()] == [good.leaf]
    assert Batch(1, keys, [good], Query(), [Needle("w:x")]).open()
    assert not Batch(1, keys, [good], Query(), [Needle("w:y")]).open()
    assert not Batch(1, keys, [good], Query(direction=Direction.INBOUND), None).open()
