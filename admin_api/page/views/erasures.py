"""Erasures: the open and finished ones, one with its receipt, approval, and the waiver."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.date_ranges import midnight
from admin_api.page.framework.page_request import PageRequest, View, paged
from admin_api.privacy import erasures
from admin_api.privacy import waiver as waivers

PAGE = 50
"""Erasures of one page."""
WAIVER = ("document_sha256", "signed_by", "signed_at", "scope", "expires_at")
"""Fields of the waiver's form."""


async def listed(request: PageRequest) -> Response:
    """Show the open erasures and the newest finished ones."""
    going = await erasures.list_erasures(request.caller(), query=erasures.ErasureQuery())
    query = {"state": "done", "limit": PAGE, "cursor": request.asked("cursor")}
    done = await erasures.list_erasures.ask(request.caller(), query=query)
    waiver = await waivers.view(request.caller())
    return request.page("erasures.html", going=going["items"], **paged(request, done), waiver=waiver)


async def one(request: PageRequest, id: str) -> Response:
    """Show one erasure."""
    erasure = await erasures.view(request.caller(), id)
    waits = erasure["state"] == "approval" and request.may(Action.ERASURE_APPROVE)
    return request.page("erasure.html", erasure=erasure, waits=waits)


async def approve(request: PageRequest, id: str) -> str:
    """Approve an erasure that somebody else asked for."""
    await erasures.approve(request.caller(), id)
    return f"/erasures/{id}"


async def receipt(request: PageRequest, id: str) -> Response | str:
    """Answer with the receipt."""
    signed = (await erasures.view(request.caller(), id))["receipt"]
    return request.file(signed, f"receipt-{id}.json") if signed else f"/erasures/{id}"


async def waiver(request: PageRequest) -> Response:
    """Show the waiver, and the form for a new one to those who may put it on file."""
    given = {name: request.one(name).strip() for name in WAIVER}
    return request.page("waiver.html", waiver=await waivers.view(request.caller()), given=given)


async def sign(request: PageRequest) -> str:
    """Put a waiver on file."""
    body = {
        "document_sha256": request.one("document_sha256").strip().lower(),
        "signed_by": request.one("signed_by").strip(),
        "signed_at": midnight(request.one("signed_at").strip()),
        "scope": request.one("scope").strip(),
        "expires_at": midnight(request.one("expires_at").strip()),
    }
    await waivers.put.ask(request.caller(), body=body)
    return "/erasures/waiver"


VIEWS = (
    View("GET", "/erasures", listed, Action.ERASURES, menu="erasures"),
    View("GET", "/erasures/waiver", waiver, Action.WAIVER),
    View("POST", "/erasures/waiver", sign, Action.WAIVER_WRITE, form=waiver),
    View("GET", "/erasures/{id}", one, Action.ERASURE_STATE),
    View("POST", "/erasures/{id}/approve", approve, Action.ERASURE_APPROVE, form=one),
    View("GET", "/erasures/{id}/receipt", receipt, Action.ERASURE_STATE),
)
