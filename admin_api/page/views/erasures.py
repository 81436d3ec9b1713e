"""Erasures: the open and finished ones, one with its receipt, approval, and the waiver."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.date_ranges import midnight
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.privacy import erasures
from admin_api.privacy import waiver as waivers

PAGE = 50
"""Erasures of one page."""
WAIVER = ("document_sha256", "signed_by", "signed_at", "scope", "expires_at")
"""Fields of the waiver's form."""


@view("GET", "/erasures", Action.ERASURES, menu="erasures")
async def listed(request: PageRequest) -> Response:
    """Show the open erasures and the newest finished ones."""
    going = await erasures.list_erasures(request.caller(), query=erasures.ErasureQuery())
    query = {"state": "done", "limit": PAGE, "cursor": request.asked("cursor")}
    done = await erasures.list_erasures.ask(request.caller(), query=query)
    waiver = await waivers.view(request.caller())
    return request.page("erasures.html", going=going["items"], **request.paged(done), waiver=waiver)


@view("GET", "/erasures/waiver", Action.WAIVER)
async def waiver(request: PageRequest) -> Response:
    """Show the waiver, and the form for a new one to those who may put it on file."""
    given = {name: request.one(name).strip() for name in WAIVER}
    return request.page("waiver.html", waiver=await waivers.view(request.caller()), given=given)


@view("POST", "/erasures/waiver", Action.WAIVER_WRITE, form=waiver.show)
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


@view("GET", "/erasures/{id}", Action.ERASURE_STATE)
async def one(request: PageRequest, id: str) -> Response:
    """Show one erasure."""
    erasure = await erasures.view(request.caller(), id)
    waits = erasure["state"] == "approval" and request.may(Action.ERASURE_APPROVE)
    return request.page("erasure.html", erasure=erasure, waits=waits)


@view("POST", "/erasures/{id}/approve", Action.ERASURE_APPROVE, form=one.show)
async def approve(request: PageRequest, id: str) -> str:
    """Approve an erasure that somebody else asked for."""
    await erasures.approve(request.caller(), id)
    return f"/erasures/{id}"


@view("GET", "/erasures/{id}/receipt", Action.ERASURE_STATE)
async def receipt(request: PageRequest, id: str) -> Response | str:
    """Answer with the receipt."""
    signed = (await erasures.view(request.caller(), id))["receipt"]
    return request.file(signed, f"receipt-{id}.json") if signed else f"/erasures/{id}"
