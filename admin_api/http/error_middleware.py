"""Middleware for the common headers of all answers, and for problem documents without internal text on failures."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as ASGIMessage

from admin_api.http import responses
from admin_api.http.bearer import Report
from admin_api.http.messages import Message
from admin_api.http.problems import (
    Problem,
    bug,
    damaged,
    malformed,
    not_found,
    too_many_connections,
    unavailable,
    wrong_method,
)
from storage.calls.call_row import BadDetails
from storage.database.database import DatabaseDamaged
from storage.errors import DamagedPart, DatabaseFault, KeysError, SealBroken, StorageError

HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""No answer may be cached, read as another type, or disclosed to another site.

Public files (`page.framework.static`) set their own headers."""

_DAMAGED = (BadDetails, SealBroken, DamagedPart, DatabaseDamaged, KeysError)


class Guard:
    """The middleware around the routes of the application."""

    def __init__(self, app: ASGIApp, report: Report) -> None:
        self._app = app
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whatever happens; after the first byte, a failure can only close the connection."""
        started = False

        async def sending(message: ASGIMessage) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                given = list(message.get("headers", ()))
                own = {name for name, _ in given}
                message["headers"] = [*given, *(pair for pair in HEADERS if pair[0] not in own)]
            await send(message)

        try:
            if _has_two_ends(scope):
                raise malformed()
            await self._app(scope, receive, sending)
        except Exception as error:  # a bug in one request ends that request
            answer = responses.problem(problem(error, self._report))
            if not started:
                await answer(scope, receive, sending)


def _has_two_ends(scope: Scope) -> bool:
    """Return whether a request states its body length twice, as in request smuggling (RFC 9112 section 6.1)."""
    names = {name for name, _ in scope.get("headers", ())}
    return {b"content-length", b"transfer-encoding"} <= names


def problem(error: Exception, report: Report) -> Problem:
    """Return the answer to a failure, after reporting it."""
    if isinstance(error, Problem):
        return error
    report(error)
    if isinstance(error, _DAMAGED):
        return damaged()
    if isinstance(error, StorageError) and not isinstance(error, DatabaseFault):
        away = Message("problem.storage", "The disk or the database does not respond as it should; the log says why.")
        return unavailable(away)
    return bug()


async def full(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request on a connection over the limit, as an ASGI application."""
    answer = responses.problem(too_many_connections())
    answer.raw_headers.extend(HEADERS)
    await answer(scope, receive, send)


async def unrouted(request: Request, error: Exception) -> Response:
    """Answer a path or method outside /api that does not exist."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    return responses.problem(wrong_method(("GET", "HEAD")) if status == 405 else not_found())
