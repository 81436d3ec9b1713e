"""The first page after signing in: the first view of the person's menu."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.page.framework.page_request import PageRequest, view


@view("GET", "/")
async def home(request: PageRequest) -> Response | str:
    """Go to the first view of the menu."""
    return request.menu[0].path if request.menu else request.page("home.html")
