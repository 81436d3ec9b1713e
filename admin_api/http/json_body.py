"""Read request bodies: limited in size and time, strict JSON, no undeclared members."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from admin_api.http.problems import invalid, too_large, too_slow

MAX_BODY = 1 << 20  # bytes; an erasure of 20,000 ids has 0.8 MB
BODY_SECONDS = 10.0  # for the whole body


NO_JSON = "must be JSON that names each member once"


def parsed(data: bytes) -> Any:
    """Parse JSON by RFC 8259; raises ValueError.

    Names must be unique (section 4): parsers differ on which duplicate counts, so an erasure could hit the wrong call.
    NaN and Infinity are not numbers (section 6).
    """
    try:
        return json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(_: str) -> NoReturn:
    raise ValueError("no number of JSON")


async def empty_body(request: Request) -> None:
    """Accept an empty body or {}; raises Problem 413 or 422."""
    data = await body(request)
    if not data.strip():
        return
    try:
        given = parsed(data)
    except ValueError:
        raise invalid([{"in": "body", "reason": NO_JSON}]) from None
    if given != {}:
        raise invalid([{"in": "body", "reason": "must be empty or {}: no member is known here"}])


async def body(request: Request, most: int = MAX_BODY, seconds: float = BODY_SECONDS) -> bytes:
    """Read the body of a request; raises Problem 408 or 413."""
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise too_large(most)
    except (TimeoutError, ClientDisconnect):  # the client has gone: no answer reaches it, and nothing to log
        raise too_slow() from None
    return bytes(data)
