"""Who may sign in to the page: names, roles and the last time, for the customer's admins. Commands change them."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from admin_api import answers, schemas
from admin_api.request import DONE, Asked
from storage.account import Account
from storage.people import by_name


async def listed(asked: Asked) -> Response:
    """Answer GET /accounts: every account by its name; there are at most 1,000."""
    schemas.read((), asked.http.query_params.multi_items())
    found = await asyncio.to_thread(asked.customer.accounts.all)
    await asked.note(DONE)
    return answers.page([shown(account) for account in sorted(found, key=lambda one: by_name(one.name))], None)


def shown(account: Account) -> dict[str, Any]:
    """Show an account; nothing that lets anybody in."""
    return {
        "id": account.id,
        "name": account.name,
        "roles": list(account.roles),
        "state": "disabled" if account.disabled else "invited" if account.password is None else "active",
        "second_factor": account.second_factor,
        "created_at": schemas.rfc3339(account.created_at),
        "signed_in_at": schemas.rfc3339(account.signed_in_at),
    }
