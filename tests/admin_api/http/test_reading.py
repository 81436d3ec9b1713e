"""Queries and bodies: bounded, strict, never coerced; a fault names declared names and repeats nothing."""

import asyncio
import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request

from admin_api.assembly.endpoints import endpoints
from admin_api.calls.calls import Search
from admin_api.http import reading
from admin_api.http.messages import Message
from admin_api.http.problems import Problem
from admin_api.http.types import Given, Moment, Nothing, Page, right, said, word
from storage.calls.call_row import CallState

LETTERS = Message("reason.letters", "must be lower-case letters")
THINGS = Message("reason.things", "must be a list of at most {n} things").of(n=3)
NAMES = Message("reason.names", "must be a list of names")
NOON = datetime(2026, 2, 3, 12, 0, tzinfo=UTC)


def request(*chunks, ends=True):
    """A request whose body arrives in these chunks."""
    waiting = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
    if ends:
        waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Given):
    number: Annotated[int, Meta(ge=0, le=7)]
    at: Moment | None = None

    def faults(self):
        if self.number == 6:
            yield "number", Message("reason.six", "must not be 6")


class Outer(Given, kw_only=True):
    text: Annotated[str, said(5)]
    colour: Colour = Colour.RED
    letters: Annotated[str, Meta(pattern=r"^[a-z]+\Z"), right(LETTERS)] = "x"
    choice: Annotated[str, word(("a", "b"))] | None = None
    flag: bool | UnsetType = UNSET
    ratio: float = 0.0
    inner: Inner | UnsetType = UNSET
    several: Annotated[list[Inner], Meta(max_length=3), right(THINGS)] | UnsetType = UNSET
    names: Annotated[list[str], Meta(min_length=1), right(NAMES)] | UnsetType = UNSET


def read(**members):
    return reading.read(Outer, json.dumps({"text": "x", **members}).encode())


def wrong(kind, data):
    with pytest.raises(Problem) as raised:
        reading.read(kind, data)
    assert raised.value.status == 422
    return [(error.get("name"), error["reason"]) for error in raised.value.errors]


def wrong_member(**members):
    return wrong(Outer, json.dumps({"text": "x", **members}).encode())


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-03T12:00:00Z",
        "2026-02-03t12:00:00.000z",
        "2026-02-03T13:00:00+01:00",
        "2026-02-03T13:00:00 01:00",
        "2026-02-03T06:30:00-05:30",
    ],
)
def test_times_with_a_zone(text):
    assert Moment.parse(text) == NOON
    assert Moment.parse(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-02-03",
        "2026-02-03T12:00:00",
        "2026-02-30T12:00:00Z",
        "2026-02-03T12:00:60Z",
        "20260203T120000Z",
        "2026-W06-2T12:00:00Z",
        "2026-02-03T12:00:00+99:00",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "٢٠٢٦-02-03T12:00:00Z",
        "2026-02-03T12:00:00Z\n",
    ],
)
def test_an_invalid_time_is_refused(text):
    with pytest.raises(ValueError):
        Moment.parse(text)


def test_a_valid_body_becomes_what_is_declared():
    found = read(colour="blue", choice=None, inner={"number": 7, "at": "2026-02-03T13:00:00+01:00"}, names=["a", "a"])
    assert (found.colour, found.choice, found.flag, found.names) == (Colour.BLUE, None, UNSET, ["a", "a"])
    assert (found.inner.number, found.inner.at) == (7, NOON)


@pytest.mark.parametrize(
    ("members", "name", "reason"),
    [
        ({"text": None}, "text", "must be a text of 1 to 5 characters"),
        ({"text": "  "}, "text", "must be a text of 1 to 5 characters"),
        ({"text": "123456"}, "text", "must be a text of 1 to 5 characters"),
        ({"text": 1}, "text", "must be a text of 1 to 5 characters"),
        ({"colour": "green"}, "colour", "must be one of red, blue"),
        ({"colour": ["red"]}, "colour", "must be one of red, blue"),
        ({"letters": "abc\n"}, "letters", "must be lower-case letters"),
        ({"choice": "a\n"}, "choice", "must be one of a, b"),
        ({"flag": 1}, "flag", "must be true or false"),
        ({"flag": "true"}, "flag", "must be true or false"),
        ({"flag": None}, "flag", "must be true or false"),
        ({"inner": []}, "inner", "must be a JSON object"),
        ({"inner": {}}, "inner.number", "must be a whole number from 0 to 7"),
        ({"inner": {"number": "7"}}, "inner.number", "must be a whole number from 0 to 7"),
        ({"inner": {"number": 7.0}}, "inner.number", "must be a whole number from 0 to 7"),
        ({"inner": {"number": True}}, "inner.number", "must be a whole number from 0 to 7"),
        ({"inner": {"number": 8}}, "inner.number", "must be a whole number from 0 to 7"),
        ({"inner": {"number": 6}}, "inner.number", "must not be 6"),
        ({"inner": {"number": 1, "at": "2026-01-01T00:00:00"}}, "inner.at", "must be an RFC 3339 time with its zone"),
        ({"inner": {"number": 1, "at": 7}}, "inner.at", "must be an RFC 3339 time with its zone"),
        ({"several": {}}, "several", "must be a list of at most 3 things"),
        ({"several": [{"number": 1}] * 4}, "several", "must be a list of at most 3 things"),
        ({"several": [{"number": 1}, {"number": 9}]}, "several.1.number", "must be a whole number from 0 to 7"),
        ({"several": [{"number": 1}, {"number": 6}]}, "several.1.number", "must not be 6"),
        ({"names": []}, "names", "must be a list of names"),
        ({"names": [1]}, "names", "must be a list of names"),
    ],
)
def test_a_wrong_member_is_named_with_what_it_must_be(members, name, reason):
    assert wrong_member(**members) == [(name, reason)]


def test_all_faults_are_named_together():
    assert [name for name, _ in wrong_member(text=1, flag=1, inner={"number": 9}, names=7)] == [
        "text", "flag", "inner.number", "names",
    ]  # fmt: skip


def test_an_unknown_member_is_refused_without_its_name():
    assert wrong(Inner, b'{"number": 1, "Qz7": 1}') == [(None, "unknown member; the known ones are number, at")]
    assert wrong(Nothing, b'{"Qz7": 1}') == [(None, "unknown member; the known ones are none")]
    assert wrong_member(inner={"number": 1, "Qz7": 1})[0][0] == "inner"


def test_the_number_of_named_faults_is_limited():
    class Many(Given):
        several: list[Inner]

    assert len(wrong(Many, json.dumps({"several": [{}] * 1000}).encode())) == reading.MAX_FAULTS


def test_values_are_not_printed():
    assert "Qz7" not in repr(read(names=["Qz7"])) and "Outer" in repr(read())


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"1", b"null", b"\xff", b"[" * 100_000, b'{"text":"x","text":"Qz7"}',
     b'{"text":"x","ratio":NaN}', b'{"text":"x","ratio":-Infinity}',
     b'{"text":"x","ratio":"1"}', b'{"text":"x","ratio":true}'],
)  # fmt: skip
def test_a_body_that_is_not_the_expected_object_is_refused(data):
    assert "Qz7" not in str(wrong(Outer, data))


_numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)  # JSON has no others
_values = st.recursive(st.none() | st.booleans() | _numbers | st.text(), st.lists, max_leaves=3)


BODIES = sorted({each.body for each in endpoints() if each.body not in (None, bytes)}, key=str)
_odd_text = st.text(st.characters() | st.sampled_from("\ud800\udfff"), max_size=3)
_odd_values = st.recursive(
    st.none() | st.booleans() | _numbers | _odd_text,
    lambda each: st.lists(each) | st.dictionaries(_odd_text, each),
    max_leaves=3,
)


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.__name__)
@settings(max_examples=settings.default.max_examples // 5)  # each of 17 kinds: `make fuzz` tries more
@given(data=st.data())
def test_fuzz_a_declared_body_is_read_or_refused(kind, data):
    names = st.sampled_from([*reading.members(kind), "more"]) | _odd_text
    given = data.draw(st.dictionaries(names, _odd_values))
    try:
        reading.read(kind, json.dumps(given).encode())
    except Problem as problem:
        assert problem.status == 422 and problem.errors
        json.dumps(problem.document()).encode()


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.__name__)
@given(data=st.binary())
def test_any_bytes_are_refused_as_a_body(kind, data):
    try:
        reading.read(kind, data)
    except Problem as problem:
        assert problem.status == 422


def test_the_same_name_in_two_objects_is_json():
    assert reading.parsed(b'[{"a":1},{"a":{"a":1e3}}]') == [{"a": 1}, {"a": {"a": 1000.0}}]


@given(st.lists(st.tuples(st.sampled_from(["party", "limit", "since", "x", "secret"]), st.text(min_size=1))))
def test_a_query_is_read_or_answered_422_without_repeating_it(pairs):
    planted = [(name, text + "Qz7") for name, text in pairs if name != "party"]
    try:
        reading.query(Search, planted)
    except Problem as problem:
        shown = json.dumps(problem.document())
        assert problem.status == 422
        assert "Qz7" not in shown and "secret" not in shown
    else:
        assert not planted


def test_an_unescaped_plus_is_a_plus():
    def party(text):
        return reading.query(Search, [("party", text)]).party

    assert party(" 4930123") == party("+4930123") == "+4930123"
    assert party(" Ada") == " Ada"


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("party", ("", "  ", "x" * 513)),
        ("source", ("", " ", "x" * 254)),
        ("limit", ("", "0", "1001", "-1", "1.0", "²", " 1", "٣", "9" * 20)),
        ("hold", ("", "True", "1", "true\n")),
        ("state", ("", "done", "complete\n")),
        ("cursor", ("", "a b", "a\n", "x" * 257)),
        ("since", ("", "yesterday", "2026-02-03T12:00:00Z\n")),
    ],
)
def test_a_parameter_has_one_spelling(name, texts):
    for text in texts:
        with pytest.raises(Problem) as raised:
            reading.query(Search, [(name, text)])
        assert [error["name"] for error in raised.value.errors] == [name]


def test_defaults_and_values():
    assert reading.query(Search, []) == Search()
    found = reading.query(
        Search, [("state", "complete"), ("limit", "7"), ("hold", "false"), ("since", NOON.isoformat())]
    )
    assert (found.state, found.limit, found.hold, found.since) == (CallState.COMPLETE, 7, False, NOON)


def test_a_parameter_twice_or_unknown_is_refused():
    with pytest.raises(Problem) as raised:
        reading.query(Page, [("limit", "1"), ("limit", "1"), ("Qz7", "1")])
    assert raised.value.errors == (
        {"in": "query", "name": "limit", "reason": "must be given once"},
        {"in": "query", "reason": "unknown parameter; the known ones are limit, cursor"},
    )


def test_no_declared_pattern_lets_a_newline_pass_at_the_end():
    """`$` matches before a newline at the end; `\\Z` does not."""
    kinds = {kind for each in endpoints() for kind in (each.query, each.body) if kind not in (None, bytes)}
    hints = [str(get_type_hints(kind, include_extras=True)) for kind in kinds]
    patterns = [pattern for hint in hints for pattern in re.findall(r"pattern=(['\"])(.*?)\1", hint)]
    assert len(patterns) > 20 and not any(pattern.endswith("$") for _, pattern in patterns)


def test_a_body_beyond_the_limit():
    half = bytes(reading.MAX_BODY // 2)
    assert len(asyncio.run(reading.body(request(half, half)))) == reading.MAX_BODY
    with pytest.raises(Problem) as raised:
        asyncio.run(reading.body(request(half, half, b"x", ends=False)))
    assert raised.value.status == 413


def test_a_body_that_never_ends():
    with pytest.raises(Problem) as raised:
        asyncio.run(reading.body(request(b"x", ends=False), seconds=0.01))
    assert raised.value.status == 408


def test_a_client_that_breaks_off_is_refused_like_a_slow_one():
    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(Problem) as raised:
        asyncio.run(reading.body(Request({"type": "http", "method": "POST", "headers": []}, receive)))
    assert raised.value.status == 408


class Period(Given):
    """A query with a member that must be given, and a check between two."""

    since: Annotated[int, right(Message("reason.test-day", "must be a day"))]
    until: int = 9

    def faults(self):
        if self.until < self.since:
            yield "until", Message("reason.test", "must not be before since")


@pytest.mark.parametrize(
    ("pairs", "refused"),
    [([], [("since", "must be a day")]), ([("since", "5"), ("until", "4")], [("until", "must not be before since")])],
)
def test_missing_and_contradictory_parameters_are_named(pairs, refused):
    with pytest.raises(Problem) as problem:
        reading.query(Period, pairs)
    assert [(each["name"], each["reason"]) for each in problem.value.errors] == refused
    assert reading.query(Period, [("since", "5")]) == Period(5)
