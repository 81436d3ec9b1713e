"""The first page after signing in: the first view of the person's menu."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.page.framework.page_request import PageRequest, View


async def home(request: PageRequest) -> Response:
    """Go to the first view of the menu."""
    if request.menu:
        return request.moved(request.menu[0].path)
    return request.page("home.html")


VIEWS = (View("GET", "/", home),)
