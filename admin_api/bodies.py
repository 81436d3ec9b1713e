"""Bodies of requests: bounded in size and time, JSON, nothing undeclared."""

from __future__ import annotations

import asyncio
import json

from starlette.requests import ClientDisconnect, Request

from admin_api.errors import invalid, too_large, too_slow

MAX_BODY = 1 << 20  # bytes; an erasure of 20,000 ids has 0.8 MB
BODY_SECONDS = 10.0  # for the whole body


async def empty_body(request: Request) -> None:
    """Take a request without a body or with {}; raises Problem 413 or 422."""
    data = await body(request)
    if not data.strip():
        return
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        raise invalid([{"in": "body", "reason": "must be JSON"}]) from None
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
    except (TimeoutError, ClientDisconnect):  # nobody hears it who broke off, and it is no fault of ours to be logged
        raise too_slow() from None
    return bytes(data)
