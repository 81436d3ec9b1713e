"""Put a call under legal hold and release it; a held call cannot be erased."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.calls import call_views, calls
from admin_api.http import body_reader, responses
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from storage.erasure.holds import NoCall
from storage.keys.sealing import MAX_TEXT


async def put(request: AuthorisedRequest) -> Response:
    """Answer PUT /calls/{id}/hold; a second time it changes the reason. A live call can be held too."""
    reason = await body_reader.given(request, body_reader.one_text("reason", MAX_TEXT))
    await calls.settled(request)
    await request.note(DONE)
    try:
        hold = await request.customer.holds.put(request.object, reason, request.principal.name)
    except NoCall:
        raise await request.missing() from None
    return responses.document({"id": hold.call, "hold": True, **call_views.hold(hold, whole=True)})


async def remove(request: AuthorisedRequest) -> Response:
    """Answer DELETE /calls/{id}/hold; succeeds if there is no hold."""
    request.no_parameters()
    await calls.find(request)
    await request.note(DONE)
    try:
        await request.customer.holds.remove(request.object)
    except NoCall:
        # a live call may not be in the index yet
        if request.daemon.document(request.customer.name, request.object) is None:
            raise await request.missing() from None
    return Response(status_code=204)
