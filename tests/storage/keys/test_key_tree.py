"""The key tree forgets exactly what it is told to."""

import hmac
import os
import pickle
import random

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import Forgotten, KeysWrong
from storage.keys import key_tree
from storage.keys.key_tree import LAST_LEAF, LEAF_BITS, KeyTree, day_of, label, leaf_of

ROOT = bytes(range(32))
leaves = st.integers(0, LAST_LEAF)
near = st.builds(leaf_of, st.integers(20_000, 20_003), st.integers(0, 12))  # many cuts in few places


def path_secrets(leaf: int) -> list[bytes]:
    """Derive from the root as the format says, bit by bit; return every secret on the way, the leaf's at last."""
    secrets = [ROOT]
    for bit in f"{leaf:048b}":
        secrets.append(hmac.digest(secrets[-1], bytes([int(bit)]), "sha256"))
    return secrets


def derived(leaf: int) -> bytes:
    return path_secrets(leaf)[-1]


def held(tree: KeyTree, leaf: int) -> int:
    """Count the secrets on the way to a leaf that a tree refers to, whatever its fields are called."""
    memory = pickle.dumps([getattr(tree, name) for name in KeyTree.__slots__])
    return sum(secret in memory for secret in path_secrets(leaf))


def covered(tree: KeyTree) -> list[tuple[int, int]]:
    """Return the ranges of leaves that the kept nodes stand for."""
    spans = ((prefix << (LEAF_BITS - depth), 1 << (LEAF_BITS - depth)) for depth, prefix, _ in tree.items())
    return sorted((first, first + count) for first, count in spans)


@given(leaves)
def test_a_leaf_is_derived_bit_by_bit(leaf: int) -> None:
    tree = KeyTree.new(ROOT)
    assert tree.derive(leaf) == derived(leaf)
    assert tree.derive(leaf) == derived(leaf)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(leaves, near), max_size=25), st.lists(st.one_of(leaves, near), max_size=25))
def test_cuts_in_any_order_keep_the_other_keys(cut: list[int], asked: list[int]) -> None:
    tree = KeyTree.new(ROOT)
    for done, leaf in enumerate(cut):
        tree.derive(leaf) if tree.keeps(leaf) else None  # fill the caches, which must not remember
        assert tree.cut(leaf) == (leaf not in cut[:done])
    again = KeyTree.from_bytes(bytes(tree))
    for leaf in {*asked, *cut, *(leaf ^ 1 for leaf in cut)}:
        for state in (tree, again):
            assert state.keeps(leaf) == (leaf not in cut)
            if leaf in cut:
                with pytest.raises(Forgotten):
                    state.derive(leaf)
            else:
                assert state.derive(leaf) == derived(leaf)


@settings(max_examples=100, deadline=None)
@given(st.lists(near, min_size=1, max_size=20, unique=True), st.randoms())
def test_the_state_holds_no_secret_above_a_cut_leaf(cut: list[int], order: random.Random) -> None:
    one, two = KeyTree.new(ROOT), KeyTree.new(ROOT)
    for leaf in cut:
        one.cut(leaf)
    order.shuffle(cut)
    for leaf in cut:
        two.cut(leaf)
    assert bytes(one) == bytes(two)
    above = {(depth, leaf >> (LEAF_BITS - depth)) for leaf in cut for depth in range(LEAF_BITS + 1)}
    kept = {(depth, prefix): secret for depth, prefix, secret in one.items()}
    assert not above & kept.keys()
    ancestors = {secret for leaf in cut for secret in path_secrets(leaf)}
    assert not ancestors & set(kept.values())
    assert len(kept) <= LEAF_BITS * len(cut)
    assert sum(end - first for first, end in covered(one)) == LAST_LEAF + 1 - len(cut)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.lists(st.integers(0, 300), max_size=5))
def test_a_range_is_cut_exactly(one: int, two: int, before: list[int]) -> None:
    first, last = sorted((one, two))
    tree = KeyTree.new(ROOT)
    for number in before:
        tree.cut(number)
    tree.cut_range(first, last)
    for leaf in range(302):
        assert tree.keeps(leaf) == (not first <= leaf <= last and leaf not in before)
    assert tree.cut_range(first, last) is False
    assert tree.cut_range(0, LAST_LEAF) and tree.nodes == 0
    assert not KeyTree.from_bytes(bytes(tree)).keeps(302)


def test_a_day_is_one_cut_and_shrinks_the_state() -> None:
    tree = KeyTree.new(ROOT)
    for number in range(0, 4000, 40):
        tree.cut(leaf_of(20_000, number))
    scattered = tree.nodes
    assert tree.keeps_day(20_000)
    assert tree.cut_day(20_000)
    assert not tree.cut_day(20_000)
    assert tree.nodes <= 16 < scattered
    assert not tree.keeps_day(20_000)
    assert tree.keeps_day(20_001)
    for number in (0, 1, 40, 2**32 - 1):
        assert not tree.keeps(leaf_of(20_000, number))
        assert tree.derive(leaf_of(20_001, number)) == derived(leaf_of(20_001, number))


def test_scattered_cuts_stay_within_bounds() -> None:
    chance = random.Random(1)
    gone = {leaf_of(chance.randrange(20_000, 21_825), chance.randrange(10_000)) for _ in range(10_000)}
    tree = KeyTree.new(ROOT)
    for leaf in gone:
        tree.cut(leaf)
    assert len(bytes(tree)) < 700 * len(gone)
    again = KeyTree.from_bytes(bytes(tree))
    assert not any(again.keeps(leaf) for leaf in gone)
    for leaf in (leaf_of(day, 20_000) for day in range(20_000, 20_050)):
        assert again.derive(leaf) == derived(leaf)


def test_caches_are_bounded_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_tree, "CACHED_DAYS", 3)
    monkeypatch.setattr(key_tree, "CACHED_LEAVES", 3)
    tree = KeyTree.new(ROOT)
    for day in range(20):
        assert tree.derive(leaf_of(day, day)) == derived(leaf_of(day, day))


@given(st.binary(max_size=200))
def test_anything_else_is_no_tree(data: bytes) -> None:
    with pytest.raises(KeysWrong):
        KeyTree.from_bytes(data)


def test_every_truncated_or_altered_tree_is_refused() -> None:
    tree = KeyTree.new(ROOT)
    tree.cut(77)
    data = bytes(tree)
    for size in range(len(data)):
        with pytest.raises(KeysWrong):
            KeyTree.from_bytes(data[:size])
    with pytest.raises(KeysWrong):
        KeyTree.from_bytes(data[:10] + data[49:88] + data[10:49] + data[88:])  # not in order
    with pytest.raises(KeysWrong):
        KeyTree.from_bytes(data[:10] + b"\x31" + data[11:])  # deeper than a leaf
    twice = KeyTree({(0, 0): ROOT, (48, 5): ROOT})
    with pytest.raises(KeysWrong):
        KeyTree.from_bytes(bytes(twice))


def test_labels_are_hkdf_expand_and_differ() -> None:
    names = ["media", "details", "attachment", "index", "checkpoint"]
    for name in names:
        expand = HKDFExpand(hashes.SHA256(), 32, b"siprec-recorder/1 label " + name.encode())
        assert label(ROOT, name) == expand.derive(ROOT)
    assert len({label(ROOT, name) for name in names}) == len(names)


def test_places_outside_the_tree_are_a_mistake_of_the_caller() -> None:
    tree = KeyTree.new(os.urandom(32))
    for leaf in (-1, LAST_LEAF + 1):
        with pytest.raises(ValueError):
            tree.derive(leaf)
        with pytest.raises(ValueError):
            tree.cut(leaf)
    with pytest.raises(ValueError):
        KeyTree.new(b"short")
    assert day_of(leaf_of(20_000, 7)) == 20_000


def test_a_cut_leaves_nothing_in_memory_that_leads_to_the_leaf() -> None:
    tree, gone = KeyTree.new(ROOT), leaf_of(20_500, 8)
    kept = [leaf_of(20_500, number) for number in (7, 9, 1024)]
    for leaf in (gone, *kept):
        tree.derive(leaf)
    assert held(tree, gone) > 1
    copy = tree.copy()
    tree.cut(gone)
    assert held(tree, gone) == 0
    with pytest.raises(Forgotten):
        tree.derive(gone)
    assert [tree.derive(leaf) for leaf in kept] == [copy.derive(leaf) for leaf in kept]
    assert copy.keeps(gone), "a copy is cut alone"
