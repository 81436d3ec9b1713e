"""Corrections beside a call, which itself is never changed (Art. 16)."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.calls import call_views, calls
from admin_api.http import body_reader, responses
from admin_api.http.authorised_request import DONE, Asked
from storage.attachments.annotations import NoCall
from storage.keys.sealing import MAX_TEXT


async def add(asked: Asked) -> Response:
    """Answer POST /calls/{id}/annotations."""
    text = await body_reader.given(asked, body_reader.one_text("text", MAX_TEXT))
    await calls.settled(asked)
    await asked.note(DONE)
    try:
        note = await asked.customer.annotations.add(asked.object, text, asked.principal.name)
    except NoCall:
        raise await asked.missing() from None
    return responses.document(call_views.annotation(note), 201)
