"""Whatever happens inside, the answer is a problem document with our headers."""

import asyncio
from typing import Any

import pytest

from admin_api.http.error_middleware import Guard, full
from admin_api.http.problems import not_found
from storage.calls.call_row import BadDetails
from storage.database.database import DatabaseAway, DatabaseDamaged
from storage.errors import DatabaseFault, DiskFailed, SealBroken

START = {"type": "http.response.start", "status": 200, "headers": []}


def answered(app, method="GET", headers=()):
    """Run an application behind the guard; return what was sent and what was reported."""
    sent, reported = [], []

    async def send(message):
        sent.append(message)

    receive: Any = None
    asyncio.run(Guard(app, reported.append)({"type": "http", "method": method, "headers": headers}, receive, send))
    return sent, reported


def failing(error, begun=False):
    async def app(scope, receive, send):
        if begun:
            await send(START)
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "status", "reported"),
    [
        (not_found(), 404, 0),
        (RuntimeError("+4930123"), 500, 1),
        (BadDetails("x"), 500, 1),
        (SealBroken("x"), 500, 1),
        (DatabaseDamaged("x"), 500, 1),
        (DatabaseFault("x"), 500, 1),
        (DatabaseAway("x"), 503, 1),
        (DiskFailed("x"), 503, 1),
    ],
)
def test_failures_become_problem_documents(error, status, reported):
    sent, seen = answered(failing(error))
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == status
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert b"+4930123" not in sent[1]["body"]
    assert len(seen) == reported


def test_damage_and_bugs_get_different_answers():
    assert answered(failing(SealBroken("x")))[0][1]["body"] != answered(failing(KeyError("x")))[0][1]["body"]


def test_after_the_first_byte_the_answer_just_ends():
    sent, seen = answered(failing(RuntimeError(), begun=True))
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert len(seen) == 1


def test_being_cancelled_is_no_failure():
    with pytest.raises(asyncio.CancelledError):
        answered(failing(asyncio.CancelledError()))


def test_a_body_that_ends_in_two_places_reaches_no_application():
    headers = [(b"content-length", b"4"), (b"transfer-encoding", b"chunked")]
    sent, _ = answered(failing(RuntimeError("it was asked")), "POST", headers)
    assert sent[0]["status"] == 400 and dict(sent[0]["headers"])[b"connection"] == b"close"


def test_an_excess_connection_gets_503_with_retry_after():
    sent, _ = answered(full)
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 503 and headers[b"content-type"] == b"application/problem+json"
    assert headers[b"retry-after"] == b"1" and headers[b"connection"] == b"close"
    assert headers[b"cache-control"] == b"no-store"
