"""Exports: recent ones with their progress, one export, its file, and cancelling it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
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
    answer = await request.api.stream(f"/exports/{request.path_id}/file")
    if answer.status_code in (404, 409):  # expired or not ready yet: the reader followed a link on the page
        return request.refused(Answer(answer.status_code, _told(answer)))
    return answer


async def cancel(request: PageRequest) -> Response:
    """Cancel an export that is being made, or delete its file."""
    answer = await request.api.send("DELETE", f"/exports/{request.path_id}")
    return request.moved("/exports") if answer.well else request.refused(answer)


def _told(answer: Response) -> dict[str, Any]:
    if answer.status_code == 409:
        return {
            "title": "Not possible in this state",
            "detail": "The export is not finished yet; its state shows when it is.",
        }
    return {
        "title": "Nothing was found here",
        "detail": "The export was given up, has expired, or holds a call that was erased.",
    }


VIEWS = (
    View("GET", "/exports", listed, Action.EXPORTS, menu="exports"),
    View("GET", "/exports/{id}", one, Action.EXPORT_STATE),
    View("GET", "/exports/{id}/file", file, Action.EXPORT_FILE),
    View("POST", "/exports/{id}/cancel", cancel, Action.EXPORT_CANCEL),
)
