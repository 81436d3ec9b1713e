"""Show incidents: missing or incomplete recordings, and security events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.page_request import PageRequest, View
from storage.ids import is_id

PAGE = 100
"""Incidents of one page."""
FACTS_APART = ("kind", "first_at", "last_at", "count")
"""Members that have columns of their own."""


async def listed(request: PageRequest) -> Response:
    """Show one page of incidents."""
    cursor = request.http.query_params.get("cursor")
    answer = await request.api.get("/incidents", {"limit": PAGE, "cursor": cursor})
    if not answer.well:
        return request.refused(answer)
    items = [{**{name: each[name] for name in FACTS_APART}, "facts": _facts(each)} for each in answer.items]
    return request.page("incidents.html", items=items, cursor=answer.next_cursor, newest=cursor is not None)


def _facts(incident: Mapping[str, Any]) -> list[tuple[str, Any, bool]]:
    """Return the other details: name, value, and whether it is the id of a call."""
    known = [(name, value) for name, value in incident.items() if name not in FACTS_APART and value not in (None, "")]
    return [(name, value, name == "call" and is_id(str(value))) for name, value in known]


VIEWS = (View("GET", "/incidents", listed, Action.INCIDENTS, menu="incidents"),)
