"""Attach a transcript (WebVTT or JSON) or a chat (JSON) to a call; it is kept, exported and erased with the call."""

from __future__ import annotations

import asyncio
import re

from starlette.responses import Response

from admin_api.calls import call_views, calls
from admin_api.http import json_body, query_parameters, responses
from admin_api.http.authorised_request import DONE, FAILED, AuthorisedRequest
from admin_api.http.permissions import is_id
from admin_api.http.problems import invalid, not_found
from admin_api.http.query_parameters import Parameter
from storage.attachments.attachments import KINDS, MAX_BYTES, MEDIA_TYPES, BadAttachment, NoCall
from storage.errors import Forgotten, PartMissing

BODY_SECONDS = 60.0  # 32 MiB over a slow line
MAX_TITLE = 200
_LANGUAGE = re.compile(r"[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8}){0,7}")


def language(text: str) -> str:
    """Read a language tag (RFC 5646) by its form only; raises ValueError."""
    if not _LANGUAGE.fullmatch(text):
        raise ValueError
    return text


ATTACH = (
    Parameter(
        "kind",
        query_parameters.word(*KINDS),
        " or ".join(KINDS),
        {"type": "string", "enum": list(KINDS)},
        KINDS[0],
        KINDS[0],
    ),
    Parameter(
        "title",
        query_parameters.line(MAX_TITLE, blank=True),
        f"at most {MAX_TITLE} characters",
        {"type": "string", "maxLength": MAX_TITLE},
        "Minutes",
        "",
    ),
    Parameter(
        "language",
        language,
        "a language tag such as de or pt-BR",
        {"type": "string", "pattern": f"^{_LANGUAGE.pattern}$"},
        "de",
        "",
    ),
)


async def add(request: AuthorisedRequest) -> Response:
    """Answer POST /calls/{id}/attachments: the body is the file, its type the Content-Type."""
    async with request.well_formed():
        wanted = request.parameters(ATTACH)
        media_type = request.http.headers.get("content-type", "").partition(";")[0].strip().lower()
        data = await json_body.body(request.http, MAX_BYTES, BODY_SECONDS)
        await asyncio.to_thread(check, media_type, data)
    await calls.settled(request)
    await request.note(DONE, wanted["kind"])
    try:
        made = await request.customer.attachments.add(
            request.object,
            wanted["kind"],
            media_type,
            data,
            request.principal.name,
            title=wanted["title"],
            language=wanted["language"],
        )
    except NoCall:
        raise await request.missing() from None
    except BadAttachment as problem:  # the call has as many attachments as allowed
        await request.note(FAILED, "not taken")
        raise invalid([{"in": "body", "reason": str(problem)}]) from None
    return responses.document(call_views.attachment(made), 201)


async def file(request: AuthorisedRequest) -> Response:
    """Answer GET /calls/{id}/attachments/{part}."""
    request.no_parameters()
    await calls.find(request)
    found = await request.customer.attachments.of(request.object) if is_id(request.part) else ()
    wanted = next((one for one in found if one.id == request.part), None)
    if wanted is None:
        raise await request.missing()
    await request.note(DONE)
    try:
        data = await request.customer.attachments.read(wanted)
    except (Forgotten, PartMissing):
        raise not_found() from None  # erased in the meantime
    suffix = "vtt" if wanted.media_type == MEDIA_TYPES[0] else "json"
    name = f'attachment; filename="{wanted.kind}-{wanted.id}.{suffix}"'
    return Response(data, headers={"Content-Type": wanted.media_type, "Content-Disposition": name})


def check(media_type: str, data: bytes) -> None:
    """Refuse a file that is not of its stated type; raises Problem 422."""
    if media_type not in MEDIA_TYPES:
        raise invalid([{"in": "header", "name": "Content-Type", "reason": f"must be {' or '.join(MEDIA_TYPES)}"}])
    if not (_is_vtt if media_type == MEDIA_TYPES[0] else _is_json)(data):
        raise invalid([{"in": "body", "reason": "must be of the type that Content-Type says"}])


def _is_vtt(data: bytes) -> bool:
    return data.removeprefix(b"\xef\xbb\xbf").startswith(b"WEBVTT")


def _is_json(data: bytes) -> bool:
    try:
        json_body.parsed(data)
    except ValueError:
        return False
    return True
