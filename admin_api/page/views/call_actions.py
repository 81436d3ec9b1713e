"""Actions on a call, each a plain form; a refusal is shown above the call."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.calls import annotations as corrections
from admin_api.calls import calls, holds
from admin_api.exports import exports
from admin_api.http.messages import Message
from admin_api.http.permissions import Action
from admin_api.http.problems import Problem
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.page.views import call as call_view
from admin_api.page.views.call import CONFIRM, SOUNDS, TABLES
from admin_api.page.views.call_summary import summary
from admin_api.privacy import erasures
from admin_api.privacy import waiver as waivers

MEDIA = (*SOUNDS, "mkv")


@view("POST", "/calls/{id}/pause", Action.PAUSE, form=call_view.one.show)
async def pause(request: PageRequest, id: str) -> str:
    """Pause the recording."""
    await calls.pause(request.caller(), id)
    return f"/calls/{id}"


@view("POST", "/calls/{id}/resume", Action.RESUME, form=call_view.one.show)
async def resume(request: PageRequest, id: str) -> str:
    """Resume the recording."""
    await calls.resume(request.caller(), id)
    return f"/calls/{id}"


@view("POST", "/calls/{id}/hold", Action.HOLD, form=call_view.one.show)
async def hold(request: PageRequest, id: str) -> str:
    """Put the call under legal hold."""
    await holds.put.ask(request.caller(), id, body={"reason": request.one("reason")})
    return f"/calls/{id}"


@view("POST", "/calls/{id}/release", Action.RELEASE, form=call_view.one.show)
async def release(request: PageRequest, id: str) -> str:
    """Release the call from legal hold."""
    await holds.remove(request.caller(), id)
    return f"/calls/{id}"


@view("POST", "/calls/{id}/notes", Action.ANNOTATE, form=call_view.one.show)
async def annotate(request: PageRequest, id: str) -> str:
    """Add a correction."""
    await corrections.add.ask(request.caller(), id, body={"text": request.one("text").replace("\r\n", "\n")})
    return f"/calls/{id}"


@view("POST", "/calls/{id}/export", Action.EXPORT, form=call_view.one.show)
async def export(request: PageRequest, id: str) -> str:
    """Request an export of this call, and go to its progress."""
    body = {
        "calls": [id],
        "format": request.one("format") if request.one("format") in TABLES else TABLES[0],
        "media": request.one("media") if request.one("media") in MEDIA else None,
        "reason": request.one("reason"),
    }
    made = await exports.create.ask(request.caller(), body=body)
    return f"/exports/{made['id']}"


@view("GET", "/calls/{id}/erase", Action.ERASE)
async def consequences(request: PageRequest, id: str) -> Response:
    """Show the consequences of erasing a call, before anything is requested."""
    call = await calls.view(request.caller(), id)
    return request.page(
        "call_erase.html",
        row=summary(call),
        call=call,
        waiver=await waivers.view(request.caller()),
        approval=request.session.principal.customer.settings.approval,
        typed=call["id"][:CONFIRM],
        reason=request.one("reason"),
    )


@view("POST", "/calls/{id}/erase", Action.ERASE, form=consequences.show)
async def erase(request: PageRequest, id: str) -> str:
    """Request the erasure if the beginning of the call's id was typed."""
    if request.one("typed").strip().lower() != id[:CONFIRM]:
        another = Message(
            "problem.not-typed",
            "What you typed is not the beginning of this call's id. Check that it is the call you mean.",
        )
        raise Problem(422, "invalid", Message("problem.nothing-erased", "Nothing was erased"), another)
    erasure = await erasures.create.ask(request.caller(), body={"calls": [id], "reason": request.one("reason")})
    return f"/erasures/{erasure['id']}"
