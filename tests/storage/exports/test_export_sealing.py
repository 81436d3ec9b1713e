"""What stands sealed in the row of an export."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from storage.errors import SealBroken
from storage.exports.exports import ExportState, Request, seal, shown
from storage.keys import sealing
from storage.keys.key_store import CustomerKeys
from storage.timestamps import to_micros

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REQUEST = Request("xlsx", ("id", "party_name"), "Ödipus asked", None, "+49 30 123", "opus", True)


def row(leaf: int, sealed: bytes, id: str = "e1") -> SimpleNamespace:
    at = to_micros(NOW)
    return SimpleNamespace(
        id=id,
        leaf=leaf,
        state="running",
        format="xlsx",
        created_at=at,
        created_by="paula",
        expires_at=at,
        size_bytes=None,
        sealed=sealed,
    )


@pytest.mark.parametrize(
    "request_", [REQUEST, Request("csv", (), "r", ("a", "b")), Request("csv", (), "r", query={"party": "Ö"}), None]
)
def test_a_sealed_export_row_is_restored(keys: CustomerKeys, request_: Request | None) -> None:
    leaf = sealing.new_leaf(keys)
    found = shown(keys, row(leaf, seal(keys, leaf, "e1", request_, 2, "why")))
    assert found and (found.request, found.tries, found.problem, found.state) == (
        request_,
        2,
        "why",
        ExportState.RUNNING,
    )
    assert "Ödipus" not in repr(found) and "123" not in repr(found)


def test_an_export_row_opens_under_its_id_until_its_leaf_is_cut(keys: CustomerKeys) -> None:
    leaf = sealing.new_leaf(keys)
    sealed = seal(keys, leaf, "e1", REQUEST, 0, None)
    with pytest.raises(SealBroken):
        shown(keys, row(leaf, sealed, "e2"))
    keys.cut(leaf)
    assert shown(keys, row(leaf, sealed)) is None


def test_members_of_a_later_version_are_passed_over(keys: CustomerKeys) -> None:
    leaf, told = sealing.new_leaf(keys), {name: getattr(REQUEST, name) for name in Request.__dataclass_fields__}
    document = {"request": {**told, "later": 1}, "tries": 0, "problem": None}
    found = shown(keys, row(leaf, sealing.seal(keys, leaf, "export", "e1", document)))
    assert found and found.request == REQUEST
