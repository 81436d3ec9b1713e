"""Transcripts (WebVTT or JSON) and chats (JSON) of a call, which are kept, exported and erased with the call."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from msgspec import Meta
from starlette.responses import Response

from admin_api.calls import call_views, calls
from admin_api.calls.call_views import Attachment
from admin_api.calls.playback import Sent, blocks
from admin_api.http import reading
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import HEARERS, PRIVACY, Action
from admin_api.http.problems import invalid, not_found, unavailable
from admin_api.http.types import ONE_OF, Given, right, word
from storage.attachments.attachments import KINDS, MAX_BYTES, MEDIA_TYPES
from storage.errors import Forgotten, OnOtherNode, PartMissing, StoreAway
from storage.ids import is_id

BODY_SECONDS = 60.0  # 32 MiB over a slow line
MAX_TITLE = 200
_TYPES = ONE_OF.of(choices=MEDIA_TYPES)
_ELSEWHERE = Message("problem.attachment-elsewhere", "It is on node {node}, which has not uploaded it yet. Ask again.")
_STORE_AWAY = Message("problem.attachment-store-away", "It is in the object store, which does not answer. Ask again.")
_LANGUAGE = r"[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8}){0,7}"


class AttachmentQuery(Given):
    """What the attached file is."""

    kind: Annotated[str, word(KINDS, " or ".join(KINDS)), Meta(examples=[KINDS[0]])] = KINDS[0]
    title: Annotated[
        str, Meta(max_length=MAX_TITLE, description=f"at most {MAX_TITLE} characters", examples=["Minutes"])
    ] = ""
    language: Annotated[
        str,
        Meta(pattern=rf"^{_LANGUAGE}\Z", examples=["de"]),
        right(Message("reason.language", "must be a language tag such as de or pt-BR")),
    ] = ""


@endpoint("POST", "/calls/{id}/attachments", Action.ATTACH, PRIVACY, status=201, limit=MAX_BYTES, seconds=BODY_SECONDS)
async def add(request: AuthorisedRequest, id: str, query: AttachmentQuery, body: bytes) -> Attachment:
    """Attach a transcript or a chat to a call; the body is the file.

    Its type is the Content-Type.
    """
    media_type = request.http.headers.get("content-type", "").partition(";")[0].strip().lower()
    await asyncio.to_thread(check, media_type, body)
    await calls.settled(request)
    await request.note(DONE, query.kind)
    made = await request.customer.attachments.add(
        id, query.kind, media_type, body, request.principal.name, title=query.title, language=query.language
    )
    return call_views.attachment(made)


@endpoint("GET", "/calls/{id}/attachments/{part}", Action.ATTACHMENT, HEARERS, files=MEDIA_TYPES)
async def file(request: AuthorisedRequest, id: str, part: str) -> Response:
    """A transcript or chat of a call."""
    await calls.find(request)
    found = await request.customer.attachments.of(id) if is_id(part) else ()
    wanted = next((one for one in found if one.id == part), None)
    if wanted is None:
        raise not_found("not found")
    await request.note(DONE)
    try:
        data = await request.customer.attachments.read(wanted)
    except (Forgotten, PartMissing):
        raise not_found() from None  # erased in the meantime
    except OnOtherNode as problem:
        raise unavailable(_ELSEWHERE.of(node=await request.node_name(problem.node)), "on another node") from None
    except StoreAway:
        raise unavailable(_STORE_AWAY, "object store away") from None
    suffix = "vtt" if wanted.media_type == MEDIA_TYPES[0] else "json"
    name = f'attachment; filename="{wanted.kind}-{wanted.id}.{suffix}"'
    headers = {"Content-Type": wanted.media_type, "Content-Disposition": name, "Content-Length": str(len(data))}
    return Sent(blocks(data), headers, reading=partial(request.customer.vault.in_use.reading, wanted.leaf))


def check(media_type: str, data: bytes) -> None:
    """Refuse a file that is not of its stated type; raises Problem 422."""
    if media_type not in MEDIA_TYPES:
        raise invalid([("Content-Type", _TYPES)], "header")
    if not (_is_vtt if media_type == MEDIA_TYPES[0] else _is_json)(data):
        raise invalid([("", Message("reason.content-type", "must be of the type that Content-Type says"))])


def _is_vtt(data: bytes) -> bool:
    return data.removeprefix(b"\xef\xbb\xbf").startswith(b"WEBVTT")


def _is_json(data: bytes) -> bool:
    try:
        reading.parsed(data)
    except ValueError:
        return False
    return True
