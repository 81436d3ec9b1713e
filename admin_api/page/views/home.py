"""The first page after signing in: the first view of the menu that the visitor may see."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.page.framework.page_request import View, Visit


async def home(visit: Visit) -> Response:
    """Go to the first view of the menu."""
    if visit.menu:
        return visit.moved(visit.menu[0].path)
    return visit.page("home.html")


VIEWS = (View("GET", "/", home),)
