"""Ranges as RFC 9110 section 14 wants them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.calls.ranges import span, unchanged, wanted
from admin_api.http.problems import Problem

TAG = '"a"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=5-", (5, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=90-1000", (90, 100)),
        ("Bytes=1-1", (1, 2)),
        ("bytes=9-5", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
        ("bytes=" + "0" * 100 + "-1", None),
    ],
)
def test_a_range_of_a_hundred_bytes(text, expected):
    assert span(text, 100) == expected


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_nothing_of_it_is_there(text):
    with pytest.raises(Problem) as raised:
        span(text, 100)
    assert raised.value.status == 416
    assert raised.value.headers == {"Content-Range": "bytes */100"}


@given(st.text() | st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True), st.integers(0, 10**6))
def test_whatever_is_asked_lies_inside(text, size):
    try:
        found = span(text, size)
    except Problem as problem:
        assert problem.status == 416
    else:
        assert found is None or 0 <= found[0] < found[1] <= size


def test_a_condition_that_holds_and_one_that_does_not():
    assert wanted(["bytes=0-1"], [TAG], 10, TAG) == (0, 2)
    assert wanted(["bytes=0-1"], ['"b"'], 10, TAG) is None
    assert wanted(["bytes=0-1"], ['W/"a"'], 10, TAG) is None
    assert wanted(["bytes=99-"], ['"b"'], 10, TAG) is None


def test_no_range_and_two_are_the_whole():
    assert wanted([], [], 10, TAG) is None
    assert wanted(["bytes=0-1", "bytes=2-3"], [], 10, TAG) is None


NOW = '"0123"'


@pytest.mark.parametrize(
    ("match", "none_match", "expected"),
    [
        ([], [], False),
        ([NOW], [], False),
        (["*"], [], False),
        (['"a", "0123"'], [], False),
        (['"a"'], [NOW], 412),
        (['W/"0123"'], [], 412),
        (["0123"], [], 412),
        ([], [NOW], True),
        ([], ['"a"', 'W/"0123"'], True),
        ([], [" * "], True),
        ([], ['"a*"', "0123", "", '"'], False),
        ([], [f'"{"x" * 5000}", {NOW}'], False),
        ([NOW], [NOW], True),
    ],
)
def test_a_file_is_sent_only_under_the_conditions_that_were_set(match, none_match, expected):
    """The table of RFC 9110 section 13: If-Match compares strongly and goes first, If-None-Match weakly."""
    if expected == 412:
        with pytest.raises(Problem) as caught:
            unchanged(match, none_match, NOW)
        assert caught.value.status == 412
    else:
        assert unchanged(match, none_match, NOW) is expected
