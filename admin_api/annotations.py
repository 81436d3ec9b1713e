"""Corrections beside a call, which itself is never changed (Art. 16)."""

from __future__ import annotations

from starlette.responses import Response

from admin_api import answers, calls, members, schemas
from admin_api.request import DONE, Asked
from storage.annotations import NoCall
from storage.papers import MAX_TEXT


async def add(asked: Asked) -> Response:
    """Answer POST /calls/{id}/annotations."""
    text = await members.given(asked, text_of)
    await calls.settled(asked)
    await asked.note(DONE)
    try:
        note = await asked.customer.annotations.add(asked.object, text, asked.principal.name)
    except NoCall:
        raise await calls.missing(asked) from None
    return answers.document(schemas.annotation(note), 201)


def text_of(data: bytes) -> str:
    """Read {"text"}; raises Problem 422."""
    body = members.parse(data, ("text",))
    text = body.text("text", MAX_TEXT)
    body.done()
    return text
