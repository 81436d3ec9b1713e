"""The audit log: who did what, newest first."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.page.acts import ACTS, OUTCOMES
from admin_api.page.views import View
from admin_api.page.visit import Visit
from admin_api.roles import Action

PAGE = 100
"""Entries of one page."""


async def listed(visit: Visit) -> Response:
    """Show one page of entries."""
    asked = visit.request.query_params
    since = asked.get("since", "")
    query = {"since": f"{since}T00:00:00Z" if since else None, "cursor": asked.get("cursor"), "limit": PAGE}
    answer = await visit.api.get("/audit", query)
    return visit.page(
        "audit.html",
        status=answer.status,
        items=answer.items,
        problem=None if answer.well else answer.document,
        cursor=answer.next_cursor,
        newest="cursor" in asked,
        since=since,
        acts=ACTS,
        outcomes=OUTCOMES,
    )


VIEWS = (View("GET", "/audit", listed, Action.AUDIT, menu="Audit"),)
