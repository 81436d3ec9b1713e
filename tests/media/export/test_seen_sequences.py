"""Each sequence number is used once."""

from hypothesis import given
from hypothesis import strategies as st

from media.export.seen_sequences import Seen


def test_only_what_was_not_seen_is_fresh() -> None:
    """Duty C1; a late batch fills only the holes."""
    seen = Seen()
    assert [list(seen.fresh(first, 2)) for first in (0, 4, 12)] == [[(0, 2)], [(4, 2)], [(12, 2)]]
    assert list(seen.fresh(8, 2)) == [(8, 2)]  # the rest of a hole stays free
    assert list(seen.fresh(1, 12)) == [(2, 2), (6, 2), (10, 2)]
    assert [list(seen.fresh(first, count)) for first, count in ((7, 3), (1, 12), (10, 4))] == [[], [], []]


def test_contiguous_sequence_numbers_take_no_memory() -> None:
    """A stream of hours is one run, in order or out of it."""
    seen = Seen()
    for first in (0, 2, 6, 4, 10, 8):
        seen.fresh(first, 2)
    assert (seen._starts, seen._ends) == ([0], [12])


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=30))
def test_it_agrees_with_a_plain_set(batches: list[tuple[int, int]]) -> None:
    seen, plain = Seen(), set[int]()
    for first, count in batches:
        numbers = [n for a, c in seen.fresh(first, count) for n in range(a, a + c)]
        assert numbers == [n for n in range(first, first + count) if n not in plain]
        plain.update(range(first, first + count))
