"""Members of a body: a value or a fault that names a declared member and repeats nothing."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.http.body_reader import Members, one_text, parse
from admin_api.http.problems import Problem


def reasons(members):
    return [(error.get("name"), error["reason"]) for error in members.errors]


def test_the_members_of_a_valid_body_are_read():
    body = parse(b'{"a": "x", "b": "2026-01-01T00:00:00Z", "c": 7, "d": null}', ("a", "b", "c", "d"))
    assert body.text("a", 5) == "x"
    assert body.moment("b") == datetime(2026, 1, 1, tzinfo=UTC)
    assert (body.whole("c", 7), body.whole("d", 7), body.maybe_text("d", 5)) == (7, None, None)
    assert "a" in body and "e" not in body
    body.done()


@pytest.mark.parametrize("value", [None, 1, "", "  ", "123456", [], True])
def test_a_text_must_be_one_and_not_too_long(value):
    body = Members({"a": value}, ("a",))
    assert body.text("a", 5) == ""
    assert reasons(body) == [("a", "must be a text of 1 to 5 characters")]


@pytest.mark.parametrize("value", [-1, 8, 1.0, True, "1", []])
def test_a_whole_number_is_no_other_thing(value):
    body = Members({"a": value}, ("a",))
    assert body.whole("a", 7) is None
    assert len(body.errors) == 1


@pytest.mark.parametrize("value", [None, 1, "", "now", [], "2026-01-01T00:00:00"])
def test_a_time_has_its_zone(value):
    body = Members({"a": value}, ("a",))
    assert body.moment("a") is None
    assert len(body.errors) == 1


def test_a_number_that_is_missing_is_not_null():
    body = Members({}, ("a",))
    assert body.whole("a", 7) is None
    assert body.errors


def test_an_unknown_member_is_refused_without_its_name():
    body = Members({"Qz7": 1}, ("a", "b"))
    assert reasons(body) == [(None, "unknown member; the known ones are a, b")]


def test_a_fault_inside_names_its_place():
    rule = Members({"days": "x"}, ("days",), "rules.3")
    rule.whole("days", 7)
    assert reasons(rule)[0][0] == "rules.3.days"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b"null", b"\xff", b'{"x": 1}', b"[" * 100_000])
def test_a_body_that_is_not_the_expected_object_is_refused(data):
    with pytest.raises(Problem) as caught:
        parse(data, ("a",))
    assert caught.value.status == 422


def test_an_empty_body_where_everything_may_be_left_out():
    assert "a" not in parse(b" ", ("a",), blank=True)


_numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)  # JSON has no others
_values = st.recursive(st.none() | st.booleans() | _numbers | st.text(), st.lists, max_leaves=3)


@given(st.dictionaries(st.sampled_from("abc"), _values))
def test_any_object_is_read_or_refused(given_):
    body = parse(json.dumps(given_).encode(), ("a", "b", "c"))
    found = [body.text("a", 9), body.moment("b"), body.whole("c", 9)]
    blanks = [found[0] == "", found[1] is None, found[2] is None]
    assert len(body.errors) <= sum(blanks)


def test_a_body_with_one_text():
    assert one_text("reason", 20)(b'{"reason": "Art. 17"}') == "Art. 17"
    with pytest.raises(Problem) as problem:
        one_text("reason", 5)(b'{"reason": "Art. 17"}')
    assert [error["name"] for error in problem.value.errors] == ["reason"]
