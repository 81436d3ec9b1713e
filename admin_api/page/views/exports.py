"""Exports: recent ones with their progress, one export, its file, and cancelling it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from admin_api.http.messages import Message
from admin_api.http.permissions import Action
from admin_api.http.problems import NOT_FOUND, Problem
from admin_api.page.framework.page_request import PageRequest, View
from admin_api.page.views.call_summary import Mark

PAGE = 50  # exports of one page
STATES = {
    "running": Mark("export-state.running", "warn"),
    "done": Mark("export-state.done", "good"),
    "failed": Mark("export-state.failed", "bad"),
    "cancelled": Mark("export-state.cancelled"),
}
"""How each state is marked."""


async def listed(request: PageRequest) -> Response:
    """Show the exports that have not expired; htmx gets the table alone while one is being made."""
    cursor = request.http.query_params.get("cursor", "")
    found = await request.api.get("/exports", {"limit": PAGE, "cursor": cursor}, again=request.from_htmx)
    values: dict[str, Any] = {
        "rows": found.items,
        "states": STATES,
        "cursor": cursor,
        "next_cursor": found.next_cursor,
        "making": any(row["state"] == "running" for row in found.items),
    }
    if request.from_htmx and found.well:
        return request.part("exports.html", "list", **values)
    problem = None if found.well else found.document
    return request.page("exports.html", status=found.status, problem=problem, **values)


async def one(request: PageRequest) -> Response:
    """Show one export."""
    found = await request.api.get(f"/exports/{request.path_id}", again=request.from_htmx)
    if request.from_htmx and found.well:
        return request.part("export.html", "state", export=found.document, states=STATES)
    return request.page("export.html", export=found.document, states=STATES) if found.well else request.refused(found)


async def file(request: PageRequest) -> Response:
    """Answer with the file."""
    try:
        return await request.api.stream(f"/exports/{request.path_id}/file")
    except Problem as problem:
        if problem.status != 404:
            raise
    gone = Message("problem.export-gone", "The export was given up, has expired, or holds a call that was erased.")
    raise Problem(404, "not-found", NOT_FOUND, gone)


async def cancel(request: PageRequest) -> Response:
    """Cancel an export that is being made, or delete its file."""
    answer = await request.api.send("DELETE", f"/exports/{request.path_id}")
    return request.moved("/exports") if answer.well else request.refused(answer)


VIEWS = (
    View("GET", "/exports", listed, Action.EXPORTS, menu="exports"),
    View("GET", "/exports/{id}", one, Action.EXPORT_STATE),
    View("GET", "/exports/{id}/file", file, Action.EXPORT_FILE),
    View("POST", "/exports/{id}/cancel", cancel, Action.EXPORT_CANCEL),
)
