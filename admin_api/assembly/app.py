"""The ASGI application: which handler answers which path."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from admin_api.access import accounts
from admin_api.access.accounts_port import AccountService
from admin_api.assembly import openapi
from admin_api.assembly.health import Health
from admin_api.assembly.lazy_page import LazyPage
from admin_api.calls import annotations as corrections
from admin_api.calls import attachments, calls, holds, playback, waveform
from admin_api.directory import user_changes, users
from admin_api.exports import column_sets, exports
from admin_api.http.authorise import Authoriser, Handler
from admin_api.http.bearer import Report
from admin_api.http.error_middleware import Guard
from admin_api.http.permissions import Action
from admin_api.http.ports import Daemon
from admin_api.operations import audit, incidents, system
from admin_api.privacy import erasures, retention, subject_requests, waiver
from storage.customer.customers import Customer

HANDLERS: Mapping[Action, Handler] = {
    Action.SEARCH: calls.search,
    Action.VIEW: calls.view,
    Action.WAVEFORM: waveform.view,
    Action.PAUSE: calls.switch,
    Action.RESUME: calls.switch,
    Action.HOLD: holds.put,
    Action.RELEASE: holds.remove,
    Action.ANNOTATE: corrections.add,
    Action.ATTACH: attachments.add,
    Action.ATTACHMENT: attachments.file,
    Action.EXPORT: exports.create,
    Action.EXPORTS: exports.listed,
    Action.EXPORT_STATE: exports.view,
    Action.EXPORT_FILE: exports.file,
    Action.EXPORT_CANCEL: exports.cancel,
    Action.COLUMN_SETS: column_sets.listed,
    Action.COLUMN_SET_WRITE: column_sets.put,
    Action.COLUMN_SET_DELETE: column_sets.delete,
    Action.REQUEST: subject_requests.create,
    Action.REQUESTS: subject_requests.listed,
    Action.REQUEST_STATE: subject_requests.view,
    Action.REQUEST_CANDIDATES: subject_requests.candidates,
    Action.REQUEST_SELECT: subject_requests.select,
    Action.REQUEST_EXTEND: subject_requests.extend,
    Action.REQUEST_REPORT: subject_requests.report,
    Action.REQUEST_REPORT_STATE: subject_requests.report_state,
    Action.REQUEST_REPORT_FILE: subject_requests.report_file,
    Action.REQUEST_ERASE: subject_requests.erase,
    Action.REQUEST_CLOSE: subject_requests.close,
    Action.RETENTION: retention.view,
    Action.RETENTION_WRITE: retention.put,
    Action.RETENTION_PREVIEW: retention.preview,
    Action.ERASE: erasures.create,
    Action.ERASURES: erasures.listed,
    Action.ERASURE_STATE: erasures.view,
    Action.ERASURE_APPROVE: erasures.approve,
    Action.WAIVER: waiver.view,
    Action.WAIVER_WRITE: waiver.put,
    Action.USERS: users.listed,
    Action.USER: users.view,
    Action.USER_CREATE: user_changes.create,
    Action.USER_CHANGE: user_changes.change,
    Action.USERS_REPLACE: user_changes.replace,
    Action.USER_EXPORT: users.export,
    Action.USER_UNMAP: users.unmap,
    Action.USER_DELETE: users.delete,
    Action.AUDIT: audit.listed,
    Action.AUDIT_FILE: audit.file,
    Action.ACCOUNTS: accounts.listed,
    Action.INCIDENTS: incidents.listed,
    Action.SYSTEM: system.view,
}
"""Handlers without state of their own."""


def create_app(
    customers: Mapping[str, Customer],
    daemon: Daemon,
    *,
    account_service: AccountService | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    monotonic: Callable[[], float] = time.monotonic,
    report: Report | None = None,
) -> FastAPI:
    """Build the admin API of these customers on top of a running daemon.

    `report` receives every failure that is not the client's; without it, failures go to the logger "admin_api".
    Without an `account_service` nobody can sign in to the page.
    """
    report = report or _log
    handlers = {**HANDLERS, Action.PLAY: playback.Player().play}
    authoriser = Authoriser(customers, daemon, handlers, clock=clock, monotonic=monotonic, report=report)
    health = Health(daemon, customers)

    async def described(request: Request) -> Response:
        return Response(openapi.text(), media_type="application/json")

    routes: list[BaseRoute] = [
        Route("/healthz", health.alive),
        Route("/readyz", health.ready),
        Route("/metrics", health.metrics),
        Route("/openapi.json", described),
        Route("/api", authoriser),
        Route("/api/{rest:path}", authoriser),
    ]
    lazy_page = LazyPage(authoriser, account_service, report=report, monotonic=monotonic)
    return FastAPI(
        title=openapi.TITLE,
        version=openapi.VERSION,
        openapi_url=None,  # ours comes from the table of roles
        docs_url=None,  # the page would load its scripts from somebody else
        redoc_url=None,
        redirect_slashes=False,
        routes=[*routes, *lazy_page.routes()],
        middleware=[Middleware(Guard, report=report)],
        exception_handlers={HTTPException: lazy_page.lost},
    )


def _log(error: BaseException) -> None:
    """Log a failure; the log's formatter writes class and place only."""
    logging.getLogger("admin_api").error("admin_api.fault", exc_info=error)
