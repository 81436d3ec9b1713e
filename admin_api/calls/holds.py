"""Put a call under legal hold and release it: a held call is erased by nobody."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.calls import call_views, calls
from admin_api.http import body_reader, responses
from admin_api.http.authorised_request import DONE, Asked
from storage.erasure.holds import NoCall
from storage.keys.sealing import MAX_TEXT


async def put(asked: Asked) -> Response:
    """Answer PUT /calls/{id}/hold; a second time it changes the reason. A live call can be held too."""
    reason = await body_reader.given(asked, body_reader.one_text("reason", MAX_TEXT))
    await calls.settled(asked)
    await asked.note(DONE)
    try:
        hold = await asked.customer.holds.put(asked.object, reason, asked.principal.name)
    except NoCall:
        raise await asked.missing() from None
    return responses.document({"id": hold.call, "hold": True, **call_views.hold(hold, whole=True)})


async def remove(asked: Asked) -> Response:
    """Answer DELETE /calls/{id}/hold, also where there is none."""
    asked.no_parameters()
    await calls.find(asked)
    await asked.note(DONE)
    try:
        await asked.customer.holds.remove(asked.object)
    except NoCall:
        if asked.desk.document(asked.customer.name, asked.object) is None:  # a live call may be in no index yet
            raise await asked.missing() from None
    return Response(status_code=204)
