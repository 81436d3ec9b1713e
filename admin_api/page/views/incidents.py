"""Incidents: missing or incomplete recordings, and security events."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.operations import incidents
from admin_api.page.framework.page_request import PageRequest, view
from storage.ids import is_id

PAGE = 100
"""Incidents of one page."""
APART = ("kind", "first_at", "last_at", "count")
"""Members that have columns of their own."""


@view("GET", "/incidents", Action.INCIDENTS, menu="incidents")
async def listed(request: PageRequest) -> Response:
    """Show one page of incidents."""
    query = {"limit": PAGE, "cursor": request.asked("cursor")}
    found = incidents.list_incidents.ask(request.caller(), query=query)
    return await request.listed("incidents.html", found, apart=APART, is_id=is_id)
