"""Requests of people who were recorded: the list, a new one from a letter, and one as the steps it goes through."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import View, Visit

PAGE = 50
"""Requests of one page."""
CANDIDATES = 400
"""Candidates of one page: each is two fields of the form."""
STATES = "open confirmed reporting reported erasing done refused closed".split()
KINDS = "access portability erasure".split()
FIELDS = ("identities", "user", "received_at", "reference", "reason")
"""Fields of the form for a new request, beside the kinds."""


async def listed(visit: Visit) -> Response:
    """Show one page of requests."""
    asked = visit.request.query_params
    state = asked.get("state", "")
    answer = await visit.api.get("/requests", {"state": state, "limit": PAGE, "cursor": asked.get("cursor")})
    return visit.listed("requests.html", answer, state=state, states=STATES)


async def new(visit: Visit) -> Response:
    """Show the form for a letter; a link from a search or a user fills some of it in."""
    asked = visit.request.query_params
    given = {name: asked.get(name, "") for name in FIELDS}
    return _new(visit, given, ["access"])


async def create(visit: Visit) -> Response:
    """File a request."""
    given = {name: visit.one(name).strip() for name in FIELDS}
    kinds = [kind for kind in visit.form.get("kind", []) if kind in KINDS]
    received = given["received_at"]
    body: dict[str, Any] = {
        "kind": kinds,
        "identities": [line.strip() for line in given["identities"].splitlines() if line.strip()],
        "user": given["user"] or None,
        "received_at": f"{received}T00:00:00Z" if received else None,
        "reference": given["reference"] or None,
        "reason": given["reason"] or None,
    }
    answer = await visit.api.send("POST", "/requests", body)
    return visit.moved(f"/requests/{answer.document['id']}") if answer.well else _new(visit, given, kinds, answer)


async def one(visit: Visit) -> Response:
    """Show one request; while its report is being made, by itself only that part again."""
    if visit.lively:
        return await _how_far(visit)
    return await shown(visit)


async def _how_far(visit: Visit) -> Response:
    """Answer with how far the report is; once it is made the whole page has changed, so the browser loads it anew."""
    answer = await visit.api.get(f"/requests/{visit.path_id}", again=True)
    report = answer.document.get("report") if answer.well else None
    if report is None or report["state"] != "running":
        return Response(headers={"HX-Refresh": "true"})
    return visit.part("request.html", "made", case=answer.document)


async def shown(visit: Visit, problem: Answer | None = None) -> Response:
    """Answer with a request as it stands, and what the API said no to."""
    id = visit.path_id
    answer = await visit.api.get(f"/requests/{id}")
    if not answer.well:
        return visit.refused(answer)
    case = answer.document
    cursor = visit.request.query_params.get("cursor")
    found = Answer(200)
    if case["state"] in ("open", "confirmed", "reported"):
        found = await visit.api.get(f"/requests/{id}/candidates", {"limit": CANDIDATES, "cursor": cursor})
    waiver = await visit.api.get("/waiver")
    refused = problem or (None if found.well else found)
    return visit.page(
        "request.html",
        status=200 if problem is None else problem.status,
        case=case,
        candidates=found.items,
        cursor=found.next_cursor,
        newest=cursor is not None,
        waiver=waiver.document,
        problem=None if refused is None else refused.document,
    )


async def record(visit: Visit) -> Response:
    """Hand out what stays of a closed request."""
    id = visit.path_id
    return await visit.signed(f"/requests/{id}", "record", f"record-{id}.json")


def _new(visit: Visit, given: dict[str, str], kinds: list[str], problem: Answer | None = None) -> Response:
    status, said = (200, None) if problem is None else (problem.status, problem.document)
    return visit.page("request_new.html", status=status, given=given, kinds=kinds, all_kinds=KINDS, problem=said)


VIEWS = (
    View("GET", "/requests", listed, Action.REQUESTS, menu="Requests"),
    View("GET", "/requests/new", new, Action.REQUEST),
    View("POST", "/requests/new", create, Action.REQUEST),
    View("GET", "/requests/{id}", one, Action.REQUEST_STATE),
    View("GET", "/requests/{id}/record", record, Action.REQUEST_STATE),
)
