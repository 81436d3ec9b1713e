"""Add corrections to a call; the recording itself is never changed (Art. 16)."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.calls import call_views, calls
from admin_api.http import body_reader, responses
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from storage.attachments.annotations import NoCall
from storage.keys.sealing import MAX_TEXT


async def add(request: AuthorisedRequest) -> Response:
    """Answer POST /calls/{id}/annotations."""
    text = await body_reader.given(request, body_reader.one_text("text", MAX_TEXT))
    await calls.settled(request)
    await request.note(DONE)
    try:
        note = await request.customer.annotations.add(request.object, text, request.principal.name)
    except NoCall:
        raise await request.missing() from None
    return responses.document(call_views.annotation(note), 201)
