"""A cursor names the row that a page ended with; any other text is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.cursors import BadCursor, by_time, read_by_time

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_the_text_of_a_cursor_by_time_stays_the_same() -> None:
    assert by_time(1772366400_000_000, ID) == f"1772366400000000.{ID}"
    assert read_by_time(f"1772366400000000.{ID}") == (1772366400_000_000, ID)


@given(
    st.text(max_size=80) | st.sampled_from([f".{ID}", f"1.{ID} ", f"{'9' * 18}.{ID}", f"1.{ID[:-1]}", f"\u0661.{ID}"])
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        read_by_time(text)
