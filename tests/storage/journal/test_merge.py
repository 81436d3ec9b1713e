"""Of the items of several nodes' journals the newest counts, in whatever order the nodes give them back."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from storage.journal.journal import Item, State, apply
from storage.journal.merge import Merge
from storage.keys.key_tree import LAST_LEAF

HOLDS, RULES, USERS = "holds", "retention_rules", "users"


def put(table: str, row: str, place: int, **values: Any) -> Item:
    key = "call" if table == HOLDS else "id"
    return Item(LAST_LEAF, table, {key: row, **values, "said": place}, {}, place)


def drop(table: str, row: str, place: int) -> Item:
    return Item(LAST_LEAF, table, None, {"call" if table == HOLDS else "id": row}, place)


def drop_all(table: str, place: int) -> Item:
    return Item(LAST_LEAF, table, None, {}, place)


def empty() -> Merge:
    return Merge({HOLDS: {}, RULES: {}, USERS: {}}, {})


def merged(*groups: list[Item]) -> State:
    """Give groups of items one after the other, as nodes do that come one after the other."""
    merge = empty()
    for group in groups:
        merge.give(group)
    return merge.rows


rows = st.sampled_from("abc")
kinds = st.one_of(
    st.tuples(st.just(put), st.sampled_from([HOLDS, RULES]), rows),
    st.tuples(st.just(drop), st.sampled_from([HOLDS, RULES]), rows),
    st.tuples(st.just(drop_all), st.just(RULES)),
)


@st.composite
def written(draw: st.DrawFn) -> tuple[list[list[Item]], list[Item]]:
    """Items in lines, each line under one place; and the same items as they were written."""
    lines = []
    for place in range(1, draw(st.integers(1, 12)) + 1):
        parts = draw(st.lists(kinds, min_size=1, max_size=3))
        parts.sort(key=lambda part: part[0] is not drop_all)  # the old rules are removed before the new are written
        lines.append([make(*rest, place) for make, *rest in _once(parts)])
    return lines, [item for line in lines for item in line]


def _once(parts: list[Any]) -> list[Any]:
    """Keep one part about each row: a transaction writes a row once."""
    return list({part[1:]: part for part in parts}.values())


@given(written(), st.data())
def test_the_newest_item_counts_in_any_order_of_the_lines(
    story: tuple[list[list[Item]], list[Item]], data: st.DataObject
) -> None:
    lines, every = story
    straight: State = {HOLDS: {}, RULES: {}, USERS: {}}
    for item in every:
        apply(straight, item)
    shuffled = data.draw(st.permutations(lines))
    again = data.draw(st.lists(st.sampled_from(lines), max_size=5))
    assert merged(*shuffled, *again) == straight
    assert merged(*lines) == merged([item for line in shuffled for item in line]) == straight


@given(written(), st.data())
def test_nodes_give_back_what_a_database_lost(story: tuple[list[list[Item]], list[Item]], data: st.DataObject) -> None:
    """The database keeps the lines up to some place, nodes go on from there, and then give back what it lost."""
    lines, every = story
    straight: State = {HOLDS: {}, RULES: {}, USERS: {}}
    for item in every:
        apply(straight, item)
    owner = data.draw(st.lists(st.integers(1, 3), min_size=len(lines), max_size=len(lines)))
    lost = data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
    merge = empty()
    for line, gone in zip(lines, lost, strict=True):
        if not gone:
            merge.give(line)
    for node in data.draw(st.permutations([1, 2, 3])):
        merge.give([item for line, by in zip(lines, owner, strict=True) if by == node for item in line])
    assert merge.rows == straight


def test_of_two_users_with_one_directory_key_the_newer_stays() -> None:
    old, new = put(USERS, "u1", 1, source_key={"base64": "aaaa"}), put(USERS, "u2", 2, source_key={"base64": "aaaa"})
    for order in ([old], [new]), ([new], [old]), ([old, new], [old]):
        assert list(merged(*order)[USERS]) == [("u2",)]


def test_an_item_that_is_already_known_counts_as_taken() -> None:
    merge = empty()
    merge.give([put(HOLDS, "a", 3)])
    merge.taken.clear()
    merge.give([put(HOLDS, "a", 3), put(HOLDS, "b", 2)])
    assert {key for _, key in merge.taken} == {'["a"]', '["b"]'}
