"""Bodies are bounded and hold nothing undeclared."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from admin_api.http import json_body
from admin_api.http.problems import Problem


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


@pytest.mark.parametrize("data", [b"", b"{}", b" {} \r\n"])
def test_nothing_is_taken(data):
    asyncio.run(json_body.empty_body(request(data)))


@pytest.mark.parametrize("data", [b'{"a":1}', b"[]", b"null", b"{", b"\xff", b"0", b"[" * 100_000])
def test_anything_else_is_refused_without_repeating_it(data):
    with pytest.raises(Problem) as raised:
        asyncio.run(json_body.empty_body(request(data)))
    assert raised.value.status == 422
    assert '"a"' not in str(raised.value.document())


@pytest.mark.parametrize(
    "data",
    [b'{"calls":["a"],"calls":["b"]}', b'[{"a":{"b":1,"\\u0062":2}}]', b"NaN", b'{"a":-Infinity}', b"[" * 100_000],
)
def test_ambiguous_json_is_refused(data):
    with pytest.raises(ValueError):
        json_body.parsed(data)


def test_the_same_name_in_two_objects_is_json():
    assert json_body.parsed(b'[{"a":1},{"a":{"a":1e3}}]') == [{"a": 1}, {"a": {"a": 1000.0}}]


@given(st.binary(min_size=1))
def test_any_body_is_nothing_or_refused(data):
    try:
        asyncio.run(json_body.empty_body(request(data)))
    except Problem as problem:
        assert problem.status == 422


def test_a_body_beyond_the_limit():
    half = bytes(json_body.MAX_BODY // 2)
    assert len(asyncio.run(json_body.body(request(half, half)))) == json_body.MAX_BODY
    with pytest.raises(Problem) as raised:
        asyncio.run(json_body.body(request(half, half, b"x", ends=False)))
    assert raised.value.status == 413


def test_a_body_that_never_ends():
    with pytest.raises(Problem) as raised:
        asyncio.run(json_body.body(request(b"x", ends=False), seconds=0.01))
    assert raised.value.status == 408


def test_a_client_that_breaks_off_is_refused_like_a_slow_one():
    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(Problem) as raised:
        asyncio.run(json_body.body(Request({"type": "http", "method": "POST", "headers": []}, receive)))
    assert raised.value.status == 408
