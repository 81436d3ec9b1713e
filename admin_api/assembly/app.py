"""The ASGI application with its routes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from admin_api.access.accounts_port import AccountService
from admin_api.assembly.endpoints import endpoints
from admin_api.assembly.health import Health
from admin_api.assembly.lazy_page import LazyPage
from admin_api.http.authorise import Authoriser
from admin_api.http.bearer import Report
from admin_api.http.error_middleware import Guard
from admin_api.http.ports import Daemon
from storage.customer.customers import Customer


def create_app(
    customers: Mapping[str, Customer],
    daemon: Daemon,
    *,
    account_service: AccountService,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    monotonic: Callable[[], float] = time.monotonic,
    report: Report | None = None,
    several: bool = False,
) -> Starlette:
    """Build the admin API of these customers on top of a running daemon; with `several`, other nodes serve them too.

    `report` receives every failure that is not the client's; without it, failures go to the logger "admin_api".
    """
    report = report or _log
    authoriser = Authoriser(customers, daemon, endpoints(), clock=clock, monotonic=monotonic, report=report)
    health = Health(daemon, customers)

    async def described(request: Request) -> Response:
        from admin_api.assembly import openapi  # rarely requested, and it would slow down the start

        return Response(await asyncio.to_thread(openapi.text), media_type="application/json")

    routes: list[BaseRoute] = [
        Route("/healthz", health.alive),
        Route("/readyz", health.ready),
        Route("/metrics", health.metrics),
        Route("/openapi.json", described),
        Route("/api", authoriser),
        Route("/api/{rest:path}", authoriser),
    ]
    lazy_page = LazyPage(authoriser, account_service, report=report, several=several, monotonic=monotonic)
    app = Starlette(
        routes=[*routes, *lazy_page.routes()],
        middleware=[Middleware(Guard, report=report)],
        exception_handlers={HTTPException: lazy_page.lost},
    )
    app.router.redirect_slashes = False
    return app


def _log(error: BaseException) -> None:
    """Log a failure; the log's formatter writes class and place only."""
    logging.getLogger("admin_api").error("admin_api.fault", exc_info=error)
