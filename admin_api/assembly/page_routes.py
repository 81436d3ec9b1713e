"""All views of the page in the order of its menu."""

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

VIEWS: tuple[View, ...] = (
    *home.VIEWS,
    *calls.VIEWS,
    *call.VIEWS,
    *call_media.VIEWS,
    *call_actions.VIEWS,
    *requests.VIEWS,
    *request_steps.VIEWS,
    *export_new.VIEWS,
    *exports.VIEWS,
    *user_edit.VIEWS,
    *users.VIEWS,
    *retention.VIEWS,
    *erasures.VIEWS,
    *audit.VIEWS,
    *accounts.VIEWS,
    *incidents.VIEWS,
    *system.VIEWS,
    *account.VIEWS,
)
ROLES = {each.action: each.roles for each in endpoints()}
"""The roles that each action needs."""
