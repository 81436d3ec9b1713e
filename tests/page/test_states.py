"""States of views that a plain look does not show: axe finds nothing in them either (WCAG 2.2 AA)."""

from collections.abc import Callable
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from admin_api.http.permissions import Role
from tests.admin_api.privacy.test_waiver import WAIVER
from tests.page.conftest import Town
from tests.page.test_live_calls import live, row
from tests.page.test_sweep import found_at

__all__ = ["live", "row"]  # fixtures


def test_everybody_can_use_them(service: Town, visitor: Callable[..., Page], live: dict[str, Any]) -> None:
    service.ask("/waiver", method="PUT", json=WAIVER)
    held, other = service.ids["acme"][-1], service.ids["acme"][-2]
    service.ask(f"/calls/{held}/hold", method="PUT", json={"reason": "court"})
    service.ask(f"/calls/{held}/annotations", method="POST", json={"text": "She is called Anna."})
    running = service.ask("/exports", method="POST", json={"party": "Anna", "reason": "x"}).json()["id"]
    service.customers["acme"].exports.progress[running] = (3, 7)
    live["paused"] = True
    page, axe, faults = visitor(*Role, theme="dark", language="de", width=360), Axe(), []
    own = ("/calls", f"/calls/{live['id']}", f"/calls/{held}", f"/calls/{other}/erase", f"/exports/{running}")
    empty = ("/exports", "/exports/new?party=Anna", "/calls?party=Nobody", "/users/new", "/users?q=Nobody")
    for path in (*own, *empty):
        faults += found_at(page, axe, path, "dark")
    assert faults == []
