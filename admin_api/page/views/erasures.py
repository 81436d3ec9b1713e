"""Erasures: the open and finished ones, one with its receipt, approval, and the waiver."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import PageRequest, View

PAGE = 50
"""Erasures of one page."""
WAIVER = ("document_sha256", "signed_by", "signed_at", "scope", "expires_at")
"""Fields of the waiver's form."""


async def listed(request: PageRequest) -> Response:
    """Show the open erasures and the newest finished ones."""
    cursor = request.http.query_params.get("cursor")
    going = await request.api.get("/erasures")
    done = await request.api.get("/erasures", {"state": "done", "limit": PAGE, "cursor": cursor})
    waiver = await request.api.get("/waiver")
    for answer in (going, done, waiver):
        if not answer.well:
            return request.refused(answer)
    return request.page(
        "erasures.html",
        going=going.items,
        done=done.items,
        cursor=done.next_cursor,
        newest=cursor is not None,
        waiver=waiver.document,
    )


async def one(request: PageRequest) -> Response:
    """Show one erasure."""
    return await _one(request)


async def approve(request: PageRequest) -> Response:
    """Approve an erasure that somebody else asked for."""
    id = request.path_id
    answer = await request.api.send("POST", f"/erasures/{id}/approve")
    return request.moved(f"/erasures/{id}") if answer.well else await _one(request, answer)


async def receipt(request: PageRequest) -> Response:
    """Answer with the receipt."""
    id = request.path_id
    return await request.signed(f"/erasures/{id}", "receipt", f"receipt-{id}.json")


async def waiver(request: PageRequest) -> Response:
    """Show the waiver, and the form for a new one to those who may put it on file."""
    answer = await request.api.get("/waiver")
    if not answer.well:
        return request.refused(answer)
    return request.page("waiver.html", waiver=answer.document, problem=None, given=dict.fromkeys(WAIVER, ""))


async def sign(request: PageRequest) -> Response:
    """Put a waiver on file."""
    given = {name: request.one(name).strip() for name in WAIVER}
    body: dict[str, Any] = {
        **given,
        "document_sha256": given["document_sha256"].lower(),
        "signed_at": _midnight(given["signed_at"]),
        "expires_at": _midnight(given["expires_at"]) or None,
    }
    answer = await request.api.send("PUT", "/waiver", body)
    if answer.well:
        return request.moved("/erasures/waiver")
    now = await request.api.get("/waiver")
    return request.page("waiver.html", status=answer.status, waiver=now.document, problem=answer.document, given=given)


async def _one(request: PageRequest, problem: Answer | None = None) -> Response:
    answer = await request.api.get(f"/erasures/{request.path_id}")
    if not answer.well:
        return request.refused(answer)
    shown = answer.document
    waits = shown["state"] == "approval" and request.may(Action.ERASURE_APPROVE)
    return request.page(
        "erasure.html",
        status=200 if problem is None else problem.status,
        erasure=shown,
        problem=None if problem is None else problem.document,
        grants=waits and not shown["own"],
        own=waits and shown["own"],
    )


def _midnight(day: str) -> str:
    """Return the start of a day in UTC in the API's form."""
    return f"{day}T00:00:00Z" if day else ""


VIEWS = (
    View("GET", "/erasures", listed, Action.ERASURES, menu="erasures"),
    View("GET", "/erasures/waiver", waiver, Action.WAIVER),
    View("POST", "/erasures/waiver", sign, Action.WAIVER_WRITE),
    View("GET", "/erasures/{id}", one, Action.ERASURE_STATE),
    View("POST", "/erasures/{id}/approve", approve, Action.ERASURE_APPROVE),
    View("GET", "/erasures/{id}/receipt", receipt, Action.ERASURE_STATE),
)
