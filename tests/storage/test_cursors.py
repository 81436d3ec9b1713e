"""A cursor names the row that a page ended with; any other text is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.cursors import BadCursor, by_day, by_numbers, by_time, read_by_day, read_by_numbers, read_by_time

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_the_text_of_a_cursor_by_time_stays_the_same() -> None:
    assert by_time(1772366400_000_000, ID) == f"1772366400000000.{ID}"
    assert read_by_time(f"1772366400000000.{ID}") == (1772366400_000_000, ID)


def test_the_text_of_the_other_cursors_stays_the_same() -> None:
    text = "MjA1MTMuMTc3MjM2NjQwMDAwMDAwMC4wZjhmYWQ1Yi1kOWNiLTQ2OWYtYTE2NS03MDg2NzcyODk1MGU"
    assert by_day(20513, 1772366400_000_000, ID) == text
    assert read_by_day(text) == (20513, 1772366400_000_000, ID)
    assert by_numbers(1, 20, 0) == "1.20.0" and read_by_numbers("1.20.0", 3) == (1, 20, 0)


@given(
    st.text(max_size=80) | st.sampled_from([f".{ID}", f"1.{ID} ", f"{'9' * 18}.{ID}", f"1.{ID[:-1]}", f"\u0661.{ID}"])
)
def test_any_other_text_is_refused(text: str) -> None:
    for read in (read_by_time, read_by_day):
        with pytest.raises(BadCursor):
            read(text)


@pytest.mark.parametrize("text", ["", "1", "1.2.3", "1.", "1.-2", "1.\u0661", "1.x", "1." + "9" * 5000])
def test_other_numbers_are_no_cursor(text: str) -> None:
    with pytest.raises(BadCursor):
        read_by_numbers(text, 2)
