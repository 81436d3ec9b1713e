"""List of the page's accounts for the customer's admins: name, roles, last sign-in. Commands change accounts."""

from __future__ import annotations

import asyncio
from typing import Annotated, TypedDict

from admin_api.http.authorised_request import AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.permissions import ADMIN, Action
from admin_api.http.types import Listed, Time, listed, word
from storage.access.account import Account as StoredAccount
from storage.directory.user import by_name
from storage.timestamps import rfc3339


class Account(TypedDict):
    """An account, without its credentials."""

    id: str
    name: str
    roles: list[str]
    state: Annotated[str, word(("active", "invited", "disabled"))]
    second_factor: bool
    created_at: Time
    signed_in_at: Time | None


@endpoint("GET", "/accounts", Action.ACCOUNTS, ADMIN)
async def list_accounts(request: AuthorisedRequest) -> Listed[Account]:
    """Who may sign in to the page, with roles and last sign-in.

    All accounts by name; there are at most 1,000.
    """
    found = await asyncio.to_thread(request.customer.accounts.all)
    return listed([shown(account) for account in sorted(found, key=lambda one: by_name(one.name))])


def shown(account: StoredAccount) -> Account:
    """Return an account in the form of the API."""
    return {
        "id": account.id,
        "name": account.name,
        "roles": list(account.roles),
        "state": "disabled" if account.disabled else "invited" if account.password is None else "active",
        "second_factor": account.second_factor,
        "created_at": rfc3339(account.created_at),
        "signed_in_at": rfc3339(account.signed_in_at),
    }
