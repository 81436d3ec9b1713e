"""What can be done with a call: each act a plain form; what the API refuses is said above the call."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import View, Visit
from admin_api.page.views.call import CONFIRM, SOUNDS, TABLES, shown
from admin_api.page.views.call_summary import glance

MEDIA = (*SOUNDS, "mkv")
NOT_TYPED = {
    "title": "Nothing was erased",
    "detail": "What you typed is not how the id of this call begins. Look whether it is the call you mean.",
}


async def pause(visit: Visit) -> Response:
    """Stop keeping what is said."""
    return await _done(visit, await visit.api.send("POST", f"/calls/{visit.path_id}/pause"))


async def resume(visit: Visit) -> Response:
    """Keep again what is said."""
    return await _done(visit, await visit.api.send("POST", f"/calls/{visit.path_id}/resume"))


async def hold(visit: Visit) -> Response:
    """Put it under legal hold."""
    return await _done(
        visit, await visit.api.send("PUT", f"/calls/{visit.path_id}/hold", {"reason": visit.one("reason")})
    )


async def release(visit: Visit) -> Response:
    """Release it from legal hold."""
    return await _done(visit, await visit.api.send("DELETE", f"/calls/{visit.path_id}/hold"))


async def annotate(visit: Visit) -> Response:
    """Put a correction beside it."""
    body = {"text": visit.one("text").replace("\r\n", "\n")}
    return await _done(visit, await visit.api.send("POST", f"/calls/{visit.path_id}/annotations", body))


async def export(visit: Visit) -> Response:
    """Ask for an export of this call alone, and go where its progress is seen."""
    media = visit.one("media")
    body: dict[str, Any] = {
        "calls": [visit.path_id],
        "format": visit.one("format") if visit.one("format") in TABLES else TABLES[0],
        "media": media if media in MEDIA else None,
        "reason": visit.one("reason"),
    }
    answer = await visit.api.send("POST", "/exports", body)
    return visit.moved(f"/exports/{answer.document['id']}") if answer.well else await shown(visit, answer)


async def consequences(visit: Visit) -> Response:
    """Show what erasing a call means, before anything is asked for."""
    return await _consequences(visit)


async def erase(visit: Visit) -> Response:
    """Ask for the erasure, once the begin of the call's id was typed."""
    id = visit.path_id
    if visit.one("typed").strip().lower() != id[:CONFIRM]:
        return await _consequences(visit, Answer(422, NOT_TYPED))
    answer = await visit.api.send("POST", "/erasures", {"calls": [id], "reason": visit.one("reason")})
    return visit.moved(f"/erasures/{answer.document['id']}") if answer.well else await _consequences(visit, answer)


async def _consequences(visit: Visit, problem: Answer | None = None) -> Response:
    found = await visit.api.get(f"/calls/{visit.path_id}")
    waiver = await visit.api.get("/waiver")
    for answer in (found, waiver):
        if not answer.well:
            return visit.refused(answer)
    return visit.page(
        "call_erase.html",
        status=problem.status if problem else 200,
        problem=problem.document if problem else None,
        row=glance(found.document),
        call=found.document,
        waiver=waiver.document,
        approval=visit.session.principal.customer.settings.approval,
        typed=found.document["id"][:CONFIRM],
        reason=visit.one("reason"),
    )


async def _done(visit: Visit, answer: Answer) -> Response:
    return await visit.after(answer, f"/calls/{visit.path_id}", shown)


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
