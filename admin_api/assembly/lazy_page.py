"""Loading of the page on its first request, so that it does not slow the start of the daemon."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from admin_api.http.error_middleware import unrouted

if TYPE_CHECKING:
    from admin_api.assembly.page_app import Site

PLACES = (
    "sign-in sign-out invitation openid appearance static account accounts "
    "calls exports requests retention erasures users audit incidents system shown unsent session"
)
"""First segments of the page's paths; any other path outside the API is 404."""


class LazyPage:
    """An ASGI application that loads the page at its first request, and passes requests to it."""

    def __init__(self, *needs: Any, **options: Any) -> None:
        self._made: Callable[[], Site] = lambda: cast("Site", _module().Site(*needs, **options))
        self._site: Site | None = None
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request outside the API as an ASGI application."""
        site = await self.site()
        await site(scope, receive, send)

    async def lost(self, request: Request, error: Exception) -> Response:
        """Answer an unknown path: a page for browsers, a problem document for programs."""
        browser = "text/html" in request.headers.get("accept", "")
        if browser and isinstance(error, HTTPException) and error.status_code == 404:
            return (await self.site()).nowhere(request)
        return await unrouted(request, error)

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the page."""
        below = [Route(f"/{place}{rest}", self) for place in PLACES.split() for rest in ("", "/{rest:path}")]
        return [Route("/", self, methods=["GET"]), *below]

    async def site(self) -> Site:
        """Return the page; load it in a thread the first time, so that live calls are not delayed."""
        async with self._lock:
            if self._site is None:
                self._site = await asyncio.to_thread(self._made)
        return self._site


def _module() -> Any:
    return importlib.import_module("admin_api.assembly.page_app")
