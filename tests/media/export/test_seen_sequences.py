"""Each sequence number is used once."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from media.export.seen_sequences import Seen


def test_contiguous_sequence_numbers_take_no_memory() -> None:
    """A stream of hours is one run, in order or out of it."""
    seen, sizes = Seen(), list[int]()
    for first in (0, 2, 6, 4, 10, 8):
        seen.fresh(first, 2)
        sizes.append(len(pickle.dumps(seen)))
    assert sizes[-1] == sizes[0] < sizes[2]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=30))
def test_it_agrees_with_a_plain_set(batches: list[tuple[int, int]]) -> None:
    seen, plain = Seen(), set[int]()
    for first, count in batches:
        numbers = [n for a, c in seen.fresh(first, count) for n in range(a, a + c)]
        assert numbers == [n for n in range(first, first + count) if n not in plain]
        plain.update(range(first, first + count))
