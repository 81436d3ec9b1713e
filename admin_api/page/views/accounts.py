"""The list of accounts with their roles and last sign-in; commands on the node change them."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.access import accounts
from admin_api.http.permissions import Action
from admin_api.page.framework.page_request import PageRequest, view


@view("GET", "/accounts", Action.ACCOUNTS, menu="accounts")
async def listed(request: PageRequest) -> Response:
    """Show every account."""
    return await request.listed("accounts.html", accounts.list_accounts(request.caller()))
