"""Gaps: a sum that is exact, a list that is bounded, late packets that go back to their place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.stream.gaps import MAX_GAPS, UNSETTLED, Gaps, Reason


def test_a_hole_that_goes_on_is_one_whatever_is_missing_of_it() -> None:
    gaps = Gaps()
    for end, missing in ((20, 30), (50, 25), (45, 1)):
        gaps.stretch(10, end, Reason.DISK, missing)
    assert (gaps.listed(), gaps.missing_ns) == ([(10, 50, "disk")], 56)
    gaps.stretch(60, 70, Reason.DISK, None)
    for end in (100, 90):  # by a clock that was set back
        gaps.stretch(60, end, Reason.DISK, None)
    assert (gaps.listed()[1:], gaps.missing_ns) == ([(60, 100, "disk")], 96)


def test_no_time_of_a_gap_is_counted_twice() -> None:
    gaps = Gaps()
    for end in range(20, 60, 10):
        gaps.add(end - 4, end - 2, Reason.LOSS, 7, end, end)
        gaps.stretch(10, end, Reason.DISK, None)
    gaps.stretch(5, 55, Reason.DISK, None)  # at last also what had waited before it
    assert gaps.missing_ns == 50 + 4 * 2
    assert [gap for gap in gaps.listed() if gap[2] == "disk"] == [(5, 55, "disk")]
    assert gaps.fill(7, 30)


def test_beyond_the_limit_the_oldest_gaps_are_merged() -> None:
    gaps = Gaps()
    for n in range(3 * MAX_GAPS):
        gaps.add(100 * n, 100 * n + 10, Reason.DISK if n == 1 else Reason.LOSS)
    assert len(gaps.items) <= MAX_GAPS
    assert gaps.missing_ns == 3 * MAX_GAPS * 10
    assert gaps.listed()[0][2] == "disk"  # our own fault is never hidden


@given(st.integers(1, 60), st.lists(st.integers(-5, 70)))
def test_property_filling_a_gap_removes_each_number_once(count: int, late: list[int]) -> None:
    gaps = Gaps()
    gaps.add(0, 20 * count, Reason.LOSS, 7, 0, count - 1)
    filled = [number for number in late if gaps.fill(7, number)]
    assert sorted(filled) == sorted({number for number in late if 0 <= number < count})
    assert gaps.missing_ns == 20 * (count - len(filled))
    assert not gaps.fill(8, 0)


def test_a_burst_is_the_mean_of_what_was_lost_at_a_time() -> None:
    gaps = Gaps()
    assert gaps.burst == 0
    gaps.add(0, 20, Reason.LOSS, 7, 10, 10)
    gaps.add(100, 200, Reason.LOSS, 7, 20, 24)
    gaps.add(300, 400, Reason.DISK)
    gaps.add(500, 900, Reason.RESTART, 7, 40, 60)
    assert gaps.burst == 3
    gaps.fill(7, 22)  # two bursts of two, and the one
    assert gaps.burst == pytest.approx(5 / 3)


def test_a_number_may_have_its_own_reason_in_a_gap() -> None:
    gaps = Gaps()
    gaps.add(0, 100, Reason.LOSS, 7, 1, 5)
    assert [gaps.name(7, number, Reason.LATE) for number in (2, 3, 3, 9)] == [True, True, False, False]
    assert gaps.listed() == [(0, 20, "loss"), (20, 60, "late"), (60, 100, "loss")]
    assert gaps.missing_ns == 100 and gaps.burst == pytest.approx(5 / 3)
    assert gaps.name(7, 1, Reason.LATE) and gaps.name(7, 5, Reason.LATE)
    assert gaps.listed() == [(0, 60, "late"), (60, 80, "loss"), (80, 100, "late")]


@given(st.lists(st.integers(0, 300), max_size=300))
def test_property_naming_changes_no_length_and_stays_bounded(numbers: list[int]) -> None:
    gaps = Gaps()
    gaps.add(0, 301 * 20, Reason.LOSS, 7, 0, 300)
    for number in numbers:
        gaps.name(7, number, Reason.LATE)
    assert gaps.missing_ns == 301 * 20 and len(gaps.items) <= MAX_GAPS
    if len(set(numbers)) < MAX_GAPS // 2:
        assert sum(end - begin for begin, end, reason in gaps.listed() if reason == "late") == 20 * len(set(numbers))


def test_a_silence_stays_open_until_it_is_settled() -> None:
    gaps = Gaps()
    gaps.add(0, 10, Reason.NO_MEDIA, last=UNSETTLED)
    gaps.settle()
    gaps.add(20, 30, Reason.NO_MEDIA, last=UNSETTLED)
    gaps.add(40, 50, Reason.NO_MEDIA, last=UNSETTLED)
    gaps.settle(40)
    assert gaps.listed() == [(0, 10, "no media"), (20, 30, "no media")]
    assert gaps.missing_ns == 20
    gaps.settle(0)
    assert gaps.missing_ns == 20  # what is settled stays
