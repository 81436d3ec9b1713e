"""List the accounts of the page for the customer's admins: name, roles, last sign-in. Commands change them."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from admin_api.http import responses
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from storage.access.account import Account
from storage.directory.user import by_name
from storage.timestamps import rfc3339


async def listed(request: AuthorisedRequest) -> Response:
    """Answer GET /accounts: all accounts by name; there are at most 1,000."""
    request.no_parameters()
    found = await asyncio.to_thread(request.customer.accounts.all)
    await request.note(DONE)
    return responses.page([shown(account) for account in sorted(found, key=lambda one: by_name(one.name))], None)


def shown(account: Account) -> dict[str, Any]:
    """Show an account without its credentials."""
    return {
        "id": account.id,
        "name": account.name,
        "roles": list(account.roles),
        "state": "disabled" if account.disabled else "invited" if account.password is None else "active",
        "second_factor": account.second_factor,
        "created_at": rfc3339(account.created_at),
        "signed_in_at": rfc3339(account.signed_in_at),
    }
