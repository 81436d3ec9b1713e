"""Data subject requests: the list, a new one from a letter, and one request with its steps."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import PageRequest, View

PAGE = 50
"""Requests of one page."""
CANDIDATES = 400
"""Candidates of one page: each is two fields of the form."""
STATES = "open confirmed reporting reported erasing done refused closed".split()
KINDS = "access portability erasure".split()
FIELDS = ("identities", "user", "received_at", "reference", "reason")
"""Fields of the form for a new request, beside the kinds."""


async def listed(request: PageRequest) -> Response:
    """Show one page of requests."""
    asked = request.http.query_params
    state = asked.get("state", "")
    answer = await request.api.get("/requests", {"state": state, "limit": PAGE, "cursor": asked.get("cursor")})
    return request.listed("requests.html", answer, state=state, states=STATES)


async def new(request: PageRequest) -> Response:
    """Show the form for a letter; a link from a search or a user fills in part of it."""
    asked = request.http.query_params
    given = {name: asked.get(name, "") for name in FIELDS}
    return _new(request, given, ["access"])


async def create(request: PageRequest) -> Response:
    """File a request."""
    given = {name: request.one(name).strip() for name in FIELDS}
    kinds = [kind for kind in request.form.get("kind", []) if kind in KINDS]
    received = given["received_at"]
    body: dict[str, Any] = {
        "kind": kinds,
        "identities": [line.strip() for line in given["identities"].splitlines() if line.strip()],
        "user": given["user"] or None,
        "received_at": f"{received}T00:00:00Z" if received else None,
        "reference": given["reference"] or None,
        "reason": given["reason"] or None,
    }
    answer = await request.api.send("POST", "/requests", body)
    return request.moved(f"/requests/{answer.document['id']}") if answer.well else _new(request, given, kinds, answer)


async def one(request: PageRequest) -> Response:
    """Show one request; while its report is being made, only that part refreshes."""
    if request.from_htmx:
        return await _how_far(request)
    return await shown(request)


async def _how_far(request: PageRequest) -> Response:
    """Answer with the progress of the report; once it is made, have the browser reload the whole page."""
    answer = await request.api.get(f"/requests/{request.path_id}", again=True)
    report = answer.document.get("report") if answer.well else None
    if report is None or report["state"] != "running":
        return Response(headers={"HX-Refresh": "true"})
    return request.part("request.html", "made", case=answer.document)


async def shown(request: PageRequest, problem: Answer | None = None) -> Response:
    """Answer with the current request and the API's refusal."""
    id = request.path_id
    answer = await request.api.get(f"/requests/{id}")
    if not answer.well:
        return request.refused(answer)
    case = answer.document
    cursor = request.http.query_params.get("cursor")
    found = Answer(200)
    if case["state"] in ("open", "confirmed", "reported"):
        found = await request.api.get(f"/requests/{id}/candidates", {"limit": CANDIDATES, "cursor": cursor})
    waiver = await request.api.get("/waiver")
    refused = problem or (None if found.well else found)
    return request.page(
        "request.html",
        status=200 if problem is None else problem.status,
        case=case,
        candidates=found.items,
        cursor=found.next_cursor,
        newest=cursor is not None,
        waiver=waiver.document,
        problem=None if refused is None else refused.document,
    )


async def record(request: PageRequest) -> Response:
    """Answer with the record of a closed request."""
    id = request.path_id
    return await request.signed(f"/requests/{id}", "record", f"record-{id}.json")


def _new(request: PageRequest, given: dict[str, str], kinds: list[str], problem: Answer | None = None) -> Response:
    status, said = (200, None) if problem is None else (problem.status, problem.document)
    return request.page("request_new.html", status=status, given=given, kinds=kinds, all_kinds=KINDS, problem=said)


VIEWS = (
    View("GET", "/requests", listed, Action.REQUESTS, menu="requests"),
    View("GET", "/requests/new", new, Action.REQUEST),
    View("POST", "/requests/new", create, Action.REQUEST),
    View("GET", "/requests/{id}", one, Action.REQUEST_STATE),
    View("GET", "/requests/{id}/record", record, Action.REQUEST_STATE),
)
