"""All views of the page in the order of its menu; of two paths that match, the first counts."""

from __future__ import annotations

from admin_api.assembly.endpoints import endpoints
from admin_api.page.framework.page_request import View
from admin_api.page.sign_in import account
from admin_api.page.views import (
    accounts,
    audit,
    call,
    call_actions,
    call_media,
    calls,
    erasures,
    export_new,
    exports,
    home,
    incidents,
    request_steps,
    requests,
    retention,
    system,
    user_edit,
    users,
)

MODULES = (
    *(home, calls, call, call_media, call_actions, requests, request_steps, export_new, exports, user_edit, users),
    *(retention, erasures, audit, accounts, incidents, system, account),
)
VIEWS = tuple(each for module in MODULES for each in vars(module).values() if isinstance(each, View))
ROLES = {each.action: each.roles for each in endpoints()}
"""The roles that each action needs."""
