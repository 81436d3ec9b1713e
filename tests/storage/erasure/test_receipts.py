"""A receipt is proof as it was signed, and nothing else is."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from storage.erasure.receipts import BadReceipt, Facts, Locked, parse, sign, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key()
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
A, B = "0f8fad5b-d9cb-469f-a165-70867728950e", "00000000-0000-4000-8000-000000000000"


def receipt() -> dict[str, Any]:
    return sign(KEY, Facts("acme", B, "request", None, [A, B, A], "paula", AT, "anton", AT, AT))


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_receipt_verifies_in_any_formatting() -> None:
    made = receipt()
    assert made["calls"] == [B, A] and made["counts"] == {"calls": 2}
    assert verify(json.dumps(made, indent=3).encode(), "acme", PUBLIC) == made
    assert verify(dump({"id": B, "state": "done", "receipt": made}), "acme", PUBLIC) == made


def test_what_a_lock_keeps_is_named_and_signed() -> None:
    facts = Facts(
        "acme", B, "request", None, [A, B], "paula", AT, None, None, AT, [Locked(A, "b", None), Locked(B, "a", AT)]
    )
    made = sign(KEY, facts)
    assert made["version"] == 2
    assert made["locked"] == [
        {"call": B, "object": "a", "until": "2026-03-01T12:00:00.000000Z"},
        {"call": A, "object": "b", "until": None},
    ]
    assert verify(dump(made), "acme", PUBLIC) == made
    plain = receipt()
    less = {name: value for name, value in made.items() if name != "locked"}
    for forged in (
        less,
        {**made, "version": 1},
        {**made, "locked": []},
        {**plain, "version": 2},
        {**made, "version": True},
    ):
        with pytest.raises(BadReceipt):
            verify(dump(forged), "acme", PUBLIC)


def test_the_nodes_that_held_the_keys_are_named_and_signed() -> None:
    held = {"rec2": False, "rec1": True}
    made = sign(KEY, Facts("acme", B, "request", None, [A, B], "paula", AT, None, None, AT, holders=held))
    assert made["version"] == 2 and "locked" not in made
    assert made["holders"] == [{"node": "rec1", "retired": False}, {"node": "rec2", "retired": True}]
    assert verify(dump(made), "acme", PUBLIC) == made
    locked = [Locked(A, "acme/1/x", AT)]
    both = sign(KEY, Facts("acme", B, "request", None, [A], "paula", AT, None, None, AT, locked, held))
    assert verify(dump(both), "acme", PUBLIC) == both
    less = {name: value for name, value in both.items() if name != "locked"}
    for forged in ({**made, "version": 1}, {**made, "holders": made["holders"][:1]}, less):
        with pytest.raises(BadReceipt):
            verify(dump(forged), "acme", PUBLIC)


@pytest.mark.parametrize("member", sorted(receipt()))
def test_every_member_is_signed(member: str) -> None:
    for change in (0, None, "x", [], True):
        made = receipt()
        if made[member] == change:
            continue
        with pytest.raises(BadReceipt):
            verify(dump({**made, member: change}), "acme", PUBLIC)
    made = receipt()
    del made[member]
    with pytest.raises(BadReceipt):
        verify(dump(made), "acme", PUBLIC)


def test_nothing_can_be_added_or_written_another_way() -> None:
    made = receipt()
    text = dump(made)
    forged = [
        dump({**made, "note": 1}),
        dump({**made, "counts": {"calls": 2, "more": 1}}),
        dump({**made, "signature": made["signature"].upper()}),
        text.replace(b'"version": 1', b'"version": 1.0'),
        text.replace(b'"version": 1', b'"version": 2, "version": 1'),
        dump({"id": A, "receipt": made}),
        dump({"id": B, "state": "running", "receipt": made}),
    ]
    for data in forged:
        with pytest.raises(BadReceipt):
            verify(data, "acme", PUBLIC)


def test_an_unfinished_erasure_has_no_receipt() -> None:
    with pytest.raises(BadReceipt, match="not done"):
        parse(dump({"id": A, "state": "running", "receipt": None}))


def test_another_customer_or_key_is_no_proof() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32)).public_key()
    for customer, key in (("beta", PUBLIC), ("acme", other)):
        with pytest.raises(BadReceipt):
            verify(dump(receipt()), customer, key)


@given(
    st.binary() | st.text().map(str.encode) | st.recursive(st.none() | st.integers(), st.lists, max_leaves=4).map(dump)
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(BadReceipt):
        parse(data)
        verify(data, "acme", PUBLIC)
