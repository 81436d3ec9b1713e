"""All views of the page in the order of its menu."""

from __future__ import annotations

from admin_api.page import audit, calls, erasures, home, incidents, retention
from admin_api.page.views import View
from admin_api.roles import RULES

VIEWS: tuple[View, ...] = (
    *home.VIEWS,
    *calls.VIEWS,
    *retention.VIEWS,
    *erasures.VIEWS,
    *audit.VIEWS,
    *incidents.VIEWS,
)
ROLES = {rule.action: rule.roles for rule in RULES}
"""Which roles each action needs."""
