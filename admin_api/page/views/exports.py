"""Exports: those of the last days with their progress, one of them, its file, and the end of it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import View, Visit
from admin_api.page.views.call_summary import Mark

PAGE = 50  # exports of one page
STATES = {
    "running": Mark("being made", "warn"),
    "done": Mark("ready", "good"),
    "failed": Mark("failed", "bad"),
    "cancelled": Mark("given up"),
}
"""What the states are called."""


async def listed(visit: Visit) -> Response:
    """Show the exports that have not expired; htmx gets the table alone while one is being made."""
    cursor = visit.request.query_params.get("cursor", "")
    found = await visit.api.get("/exports", {"limit": PAGE, "cursor": cursor}, again=visit.lively)
    values: dict[str, Any] = {
        "rows": found.items,
        "states": STATES,
        "cursor": cursor,
        "next_cursor": found.next_cursor,
        "making": any(row["state"] == "running" for row in found.items),
    }
    if visit.lively and found.well:
        return visit.part("exports.html", "list", **values)
    problem = None if found.well else found.document
    return visit.page("exports.html", status=found.status, problem=problem, **values)


async def one(visit: Visit) -> Response:
    """Show one export."""
    found = await visit.api.get(f"/exports/{visit.path_id}", again=visit.lively)
    if visit.lively and found.well:
        return visit.part("export.html", "state", export=found.document, states=STATES)
    return visit.page("export.html", export=found.document, states=STATES) if found.well else visit.refused(found)


async def file(visit: Visit) -> Response:
    """Hand out the file."""
    answer = await visit.api.stream(f"/exports/{visit.path_id}/file")
    if answer.status_code in (404, 409):  # it went, or is not ready yet: the reader came by a link of ours
        return visit.refused(Answer(answer.status_code, _told(answer)))
    return answer


async def cancel(visit: Visit) -> Response:
    """End one that is being made, or give up its file."""
    answer = await visit.api.send("DELETE", f"/exports/{visit.path_id}")
    return visit.moved("/exports") if answer.well else visit.refused(answer)


def _told(answer: Response) -> dict[str, Any]:
    if answer.status_code == 409:
        return {
            "title": "Not possible in this state",
            "detail": "The export is not done yet; its state says when it is.",
        }
    return {
        "title": "Nothing is here",
        "detail": "The export was given up, has expired, or holds a call that was erased.",
    }


VIEWS = (
    View("GET", "/exports", listed, Action.EXPORTS, "Exports"),
    View("GET", "/exports/{id}", one, Action.EXPORT_STATE),
    View("GET", "/exports/{id}/file", file, Action.EXPORT_FILE),
    View("POST", "/exports/{id}/cancel", cancel, Action.EXPORT_CANCEL),
)
