"""Actions on a call, each a plain form; a refusal of the API is shown above the call."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from admin_api.http.messages import Message
from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import PageRequest, View
from admin_api.page.views.call import CONFIRM, SOUNDS, TABLES, shown
from admin_api.page.views.call_summary import summary

MEDIA = (*SOUNDS, "mkv")
NOT_TYPED = {
    "title": Message("problem.nothing-erased", "Nothing was erased"),
    "detail": Message(
        "problem.not-typed",
        "What you typed is not the beginning of this call's id. Check that it is the call you mean.",
    ),
}


async def pause(request: PageRequest) -> Response:
    """Pause the recording."""
    return await _done(request, await request.api.send("POST", f"/calls/{request.path_id}/pause"))


async def resume(request: PageRequest) -> Response:
    """Resume the recording."""
    return await _done(request, await request.api.send("POST", f"/calls/{request.path_id}/resume"))


async def hold(request: PageRequest) -> Response:
    """Put the call under legal hold."""
    return await _done(
        request, await request.api.send("PUT", f"/calls/{request.path_id}/hold", {"reason": request.one("reason")})
    )


async def release(request: PageRequest) -> Response:
    """Release the call from legal hold."""
    return await _done(request, await request.api.send("DELETE", f"/calls/{request.path_id}/hold"))


async def annotate(request: PageRequest) -> Response:
    """Add a correction."""
    body = {"text": request.one("text").replace("\r\n", "\n")}
    return await _done(request, await request.api.send("POST", f"/calls/{request.path_id}/annotations", body))


async def export(request: PageRequest) -> Response:
    """Request an export of this call, and redirect to its progress."""
    media = request.one("media")
    body: dict[str, Any] = {
        "calls": [request.path_id],
        "format": request.one("format") if request.one("format") in TABLES else TABLES[0],
        "media": media if media in MEDIA else None,
        "reason": request.one("reason"),
    }
    answer = await request.api.send("POST", "/exports", body)
    return request.moved(f"/exports/{answer.document['id']}") if answer.well else await shown(request, answer)


async def consequences(request: PageRequest) -> Response:
    """Show what erasing a call means, before anything is requested."""
    return await _consequences(request)


async def erase(request: PageRequest) -> Response:
    """Request the erasure if the beginning of the call's id was typed."""
    id = request.path_id
    if request.one("typed").strip().lower() != id[:CONFIRM]:
        return await _consequences(request, Answer(422, NOT_TYPED))
    answer = await request.api.send("POST", "/erasures", {"calls": [id], "reason": request.one("reason")})
    return request.moved(f"/erasures/{answer.document['id']}") if answer.well else await _consequences(request, answer)


async def _consequences(request: PageRequest, problem: Answer | None = None) -> Response:
    found = await request.api.get(f"/calls/{request.path_id}")
    waiver = await request.api.get("/waiver")
    for answer in (found, waiver):
        if not answer.well:
            return request.refused(answer)
    return request.page(
        "call_erase.html",
        status=problem.status if problem else 200,
        problem=problem.document if problem else None,
        row=summary(found.document),
        call=found.document,
        waiver=waiver.document,
        approval=request.session.principal.customer.settings.approval,
        typed=found.document["id"][:CONFIRM],
        reason=request.one("reason"),
    )


async def _done(request: PageRequest, answer: Answer) -> Response:
    return await request.after(answer, f"/calls/{request.path_id}", shown)


VIEWS = (
    View("POST", "/calls/{id}/pause", pause, Action.PAUSE),
    View("POST", "/calls/{id}/resume", resume, Action.RESUME),
    View("POST", "/calls/{id}/hold", hold, Action.HOLD),
    View("POST", "/calls/{id}/release", release, Action.RELEASE),
    View("POST", "/calls/{id}/notes", annotate, Action.ANNOTATE),
    View("POST", "/calls/{id}/export", export, Action.EXPORT),
    View("GET", "/calls/{id}/erase", consequences, Action.ERASE),
    View("POST", "/calls/{id}/erase", erase, Action.ERASE),
)
