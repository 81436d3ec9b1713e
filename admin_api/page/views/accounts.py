"""List the accounts with their roles and last sign-in; commands on the node change them."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.page_request import PageRequest, View
from admin_api.page.views.call_summary import Mark

STATES = {
    "active": Mark("in use", "good"),
    "invited": Mark("has a one-time link", "warn"),
    "disabled": Mark("disabled"),
}
"""Display names of the states."""


async def listed(request: PageRequest) -> Response:
    """Show every account."""
    return request.listed("accounts.html", await request.api.get("/accounts"), states=STATES)


VIEWS = (View("GET", "/accounts", listed, Action.ACCOUNTS, "Accounts"),)
