"""The waiver: signed permission to erase calls before their retention ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from admin_api.http import body_reader, query_parameters, responses
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from storage.erasure.waivers import Waiver
from storage.keys.sealing import MAX_TEXT
from storage.timestamps import rfc3339

MEMBERS = ("document_sha256", "signed_by", "signed_at", "scope", "expires_at")
MAX_NAME = 200  # characters of who signed
_SHA256 = re.compile(r"[0-9a-f]{64}")


async def view(request: AuthorisedRequest) -> Response:
    """Answer GET /waiver: the newest one, active or not."""
    request.no_parameters()
    waiver = await request.customer.waivers.current()
    await request.note(DONE)
    return responses.document(shown(waiver, datetime.now(UTC)))


async def put(request: AuthorisedRequest) -> Response:
    """Answer PUT /waiver: it replaces the one before, even if it permits less; an expired one permits nothing."""
    now = request.customer.now()
    wanted = await body_reader.given(request, lambda data: read(data, now))
    await request.note(DONE)
    waiver = await request.customer.waivers.put(**wanted, by=request.principal.name)
    return responses.document(shown(waiver, datetime.now(UTC)))


def read(data: bytes, now: datetime) -> Mapping[str, Any]:
    """Read the body of PUT /waiver; raises Problem 422. A date of signature in the future is refused."""
    body = body_reader.parse(data, MEMBERS)
    digest = body.raw("document_sha256")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        body.wrong("document_sha256", "must be the SHA-256 of the signed document, 64 lower-case hexadecimal digits")
    signed_at = body.moment("signed_at")
    expires_at = None if body.raw("expires_at") is None else body.moment("expires_at")
    if "expires_at" not in body:
        body.wrong("expires_at", "must be given; null if the waiver never expires")
    wanted = {
        "document_sha256": digest,
        "signed_by": body.text("signed_by", MAX_NAME),
        "signed_at": signed_at,
        "scope": body.text("scope", MAX_TEXT),
        "expires_at": expires_at,
    }
    if signed_at and signed_at > now + query_parameters.AHEAD:
        body.wrong("signed_at", "must not be later than now")
    if signed_at and expires_at and expires_at <= signed_at:
        body.wrong("expires_at", "must be after signed_at")
    body.done()
    return wanted


def shown(waiver: Waiver | None, now: datetime) -> dict[str, Any]:
    """Show the waiver, or that none was ever filed."""
    if waiver is None:
        return {"active": False, "id": None, **dict.fromkeys(MEMBERS), "put_at": None, "put_by": None}
    return {
        "active": waiver.active(now),
        "id": waiver.id,
        "document_sha256": waiver.document_sha256,
        "signed_by": waiver.signed_by,
        "signed_at": rfc3339(waiver.signed_at),
        "scope": waiver.scope,
        "expires_at": rfc3339(waiver.expires_at),
        "put_at": rfc3339(waiver.put_at),
        "put_by": waiver.put_by,
    }
