"""Legal holds: put a call under legal hold and release it; a held call cannot be erased."""

from __future__ import annotations

from admin_api.calls import calls
from admin_api.calls.call_views import Hold
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.permissions import PRIVACY, Action
from admin_api.http.types import Given, Reason
from storage.erasure.holds import NoCall
from storage.timestamps import rfc3339


class HoldRequest(Given):
    """Why a call is held."""

    reason: Reason


@endpoint("PUT", "/calls/{id}/hold", Action.HOLD, PRIVACY)
async def put(request: AuthorisedRequest, id: str, body: HoldRequest) -> Hold:
    """Put a call under legal hold.

    A second time, it changes the reason. A live call can be held too.
    """
    await calls.settled(request)
    await request.note(DONE)
    hold = await request.customer.holds.put(id, body.reason, request.principal.name)
    since = rfc3339(hold.set_at)
    return {"id": hold.call, "hold": True, "held_since": since, "held_by": hold.set_by, "hold_reason": hold.reason}


@endpoint("DELETE", "/calls/{id}/hold", Action.RELEASE, PRIVACY)
async def remove(request: AuthorisedRequest, id: str) -> None:
    """Release a call from legal hold.

    It succeeds if there is no hold.
    """
    await calls.find(request)
    await request.note(DONE)
    try:
        await request.customer.holds.remove(id)
    except NoCall:
        # a live call may not be in the index yet
        if request.daemon.document(request.customer.name, id) is None:
            raise
