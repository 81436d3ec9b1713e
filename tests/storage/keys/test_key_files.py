"""The files of keys/: what is written is read, anything else is not, the newest that opens counts."""

import os
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import KeysMissing, KeysWrong
from storage.keys.key_files import (
    FORGET_BYTES,
    ForgetSecret,
    choose,
    generation_of,
    is_forget,
    open_tree,
    pack_forget,
    seal_tree,
    trim,
    unpack_forget,
)
from storage.keys.key_tree import KeyTree
from tests.storage.flipped_bits import flips

ROOT = bytes(range(32))
OLD, NEW = ForgetSecret(4, bytes(32)), ForgetSecret(5, bytes(range(32)))


def tree(cut: int) -> KeyTree:
    made = KeyTree.new(bytes(32))
    made.cut(cut)
    return made


def packed(forget: ForgetSecret, root: bytes = ROOT) -> bytes:
    return pack_forget(root, "acme", forget)


def sealed(forget: ForgetSecret, cut: int, root: bytes = ROOT) -> bytes:
    return seal_tree(root, "acme", forget, tree(cut), os.urandom(12))


def test_a_forget_secret_goes_there_and_back() -> None:
    data = packed(OLD)
    assert len(data) == FORGET_BYTES
    assert unpack_forget(ROOT, "acme", data) == OLD
    assert OLD.secret.hex() not in repr(OLD)


def test_any_damage_of_a_forget_secret_is_seen() -> None:
    data = packed(OLD)
    for bad in islice(flips(data), (len(data) - 32) * 8):
        assert unpack_forget(ROOT, "acme", bad) is None
        assert not is_forget(bad)
    for size in range(len(data)):
        assert unpack_forget(ROOT, "acme", data[:size]) is None


def test_another_root_or_customer_is_named_as_such() -> None:
    for root, customer in ((bytes(32), "acme"), (ROOT, "acmf")):
        with pytest.raises(KeysWrong, match="root secret"):
            unpack_forget(root, customer, packed(OLD))


@given(st.binary(max_size=200))
def test_anything_is_no_forget_secret_and_no_tree(data: bytes) -> None:
    assert unpack_forget(ROOT, "acme", data) is None
    assert open_tree(ROOT, "acme", OLD, data) is None


def test_a_sealed_tree_opens_under_its_own_secrets_only() -> None:
    data = sealed(OLD, 1)
    found = open_tree(ROOT, "acme", OLD, data + bytes(1000))
    assert found is not None
    assert bytes(found) == bytes(tree(1))
    assert trim(data + bytes(1000)) == data
    assert trim(data[:10]) == b""
    assert open_tree(bytes(32), "acme", OLD, data) is None
    assert open_tree(ROOT, "beta", OLD, data) is None
    assert open_tree(ROOT, "acme", ForgetSecret(4, bytes(31) + b"\1"), data) is None
    assert open_tree(ROOT, "acme", ForgetSecret(5, OLD.secret), data) is None
    for bad in (*islice(flips(data), 4, None, 8), *(data[:size] for size in range(len(data)))):
        assert open_tree(ROOT, "acme", OLD, bad) is None


def test_the_newest_tree_that_opens_counts() -> None:
    state = choose(ROOT, "acme", [packed(OLD), packed(NEW)], [sealed(OLD, 1), sealed(NEW, 2), None])
    assert (state.forget, state.slot, state.fitting) == (NEW, 1, (False, True))
    assert not state.tree.keeps(2)


def test_a_new_secret_without_its_tree_does_not_count() -> None:
    for torn in (None, b"", sealed(NEW, 2)[:-1], os.urandom(1000)):
        state = choose(ROOT, "acme", [packed(OLD), packed(NEW)], [sealed(OLD, 1), torn])
        assert (state.forget, state.slot, state.fitting) == (OLD, 0, (True, False))


@given(st.binary(max_size=200))
def test_anything_has_a_generation_or_none(data: bytes) -> None:
    assert generation_of(data) == 0
    assert generation_of(sealed(NEW, 2)[:32] + data) == NEW.generation


def test_missing_or_wrong_key_files_are_named() -> None:
    with pytest.raises(KeysMissing, match="forget secret"):
        choose(ROOT, "acme", [None, None], [sealed(OLD, 1)])
    with pytest.raises(KeysMissing, match="key tree"):
        choose(ROOT, "acme", [packed(OLD), None], [None, None])
    with pytest.raises(KeysWrong, match="damaged"):
        choose(ROOT, "acme", [b"x" * 112, None], [sealed(OLD, 1)])
    with pytest.raises(KeysWrong, match="another time"):
        choose(ROOT, "acme", [packed(NEW), packed(NEW)], [sealed(OLD, 1)])
    with pytest.raises(KeysWrong, match="root secret"):
        choose(bytes(32), "acme", [packed(OLD), packed(OLD)], [sealed(OLD, 1)])
