"""Data subject requests: the list, a new one from a letter, and one request with its steps."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.http.types import Listed
from admin_api.page.framework.date_ranges import midnight
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.privacy import subject_requests
from admin_api.privacy import waiver as waivers
from admin_api.privacy.request_views import Candidate, Request

PAGE = 50
"""Requests of one page."""
CANDIDATES = 400
"""Candidates of one page: each is two fields of the form."""
STATES = "open confirmed reporting reported erasing done refused closed".split()
KINDS = "access portability erasure".split()
FIELDS = ("identities", "user", "received_at", "reference", "reason")
"""Fields of the form for a new request, without the kinds."""


@view("GET", "/requests", Action.REQUESTS, menu="requests")
async def listed(request: PageRequest) -> Response:
    """Show one page of requests."""
    state = request.asked("state")
    query = {"state": state, "limit": PAGE, "cursor": request.asked("cursor")}
    found = subject_requests.list_requests.ask(request.caller(), query=query)
    return await request.listed("requests.html", found, state=state, states=STATES)


@view("GET", "/requests/new", Action.REQUEST)
async def new(request: PageRequest) -> Response:
    """Show the form for a letter, empty or as it was sent; a link from a search or a user fills in part of it."""
    given = {name: request.one(name).strip() or request.asked(name) for name in FIELDS}
    kinds = _kinds(request) if request.form else ["access"]
    return request.page("request_new.html", given=given, kinds=kinds, all_kinds=KINDS)


@view("POST", "/requests/new", Action.REQUEST, form=new.show)
async def create(request: PageRequest) -> str:
    """File a request."""
    given = {name: request.one(name).strip() for name in FIELDS}
    body = {
        "kind": _kinds(request),
        "identities": [line.strip() for line in given["identities"].splitlines() if line.strip()],
        "user": given["user"] or None,
        "received_at": midnight(given["received_at"]),
        "reference": given["reference"] or None,
        "reason": given["reason"] or None,
    }
    made = await subject_requests.create.ask(request.caller(), body=body)
    return f"/requests/{made['id']}"


@view("GET", "/requests/{id}", Action.REQUEST_STATE)
async def one(request: PageRequest, id: str) -> Response:
    """Show one request; while its report is being made, only that part refreshes."""
    case = await subject_requests.view(request.caller(f"request {id}"), id)
    if request.from_htmx:
        return _how_far(request, case)
    candidates: Listed[Candidate] = {"items": [], "next_cursor": None}
    status = request.problem.status if request.problem else 200
    if case["state"] in ("open", "confirmed", "reported"):
        query = {"limit": CANDIDATES, "cursor": request.asked("cursor")}
        candidates = await request.found(subject_requests.candidates.ask(request.caller(), id, query=query))
    waiver = await waivers.view(request.caller())
    return request.page("request.html", status=status, case=case, waiver=waiver, **request.paged(candidates))


def _how_far(request: PageRequest, case: Request) -> Response:
    """Answer with the progress of the report; once it is made, have the browser reload the whole page."""
    report = case["report"]
    if report is None or report["state"] != "running":
        return Response(headers={"HX-Refresh": "true"})
    return request.part("request.html", "made", case=case)


@view("GET", "/requests/{id}/record", Action.REQUEST_STATE)
async def record(request: PageRequest, id: str) -> Response | str:
    """Answer with the record of a closed request."""
    signed = (await subject_requests.view(request.caller(), id))["record"]
    return request.file(signed, f"record-{id}.json") if signed else f"/requests/{id}"


def _kinds(request: PageRequest) -> list[str]:
    return [kind for kind in request.form.get("kind", []) if kind in KINDS]
