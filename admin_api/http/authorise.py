"""Checks of every request below /api, in this order: token, rate, customer, path, role, query, body, object.

The answer never depends on anything the token may not know. Without a valid token everything is 401; below another
customer everything is 404, as if that customer did not exist; without the role everything is 403. A body is read only
after that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from admin_api.http import bearer, responses
from admin_api.http.audit_dedup import RecentReads
from admin_api.http.authorised_request import FIRST, Caller
from admin_api.http.bearer import Principal, Report
from admin_api.http.endpoint import Endpoint, Router, refused
from admin_api.http.permissions import Action, Role
from admin_api.http.ports import Daemon
from admin_api.http.problems import not_found, too_many, unauthorized, wrong_method
from admin_api.http.rate_limit import FAILURES_PER_ADDRESS, PER_TOKEN, Limiter
from storage.customer.customers import Customer


class Authoriser:
    """Authorise a request, then pass it to its endpoint."""

    def __init__(
        self,
        customers: Mapping[str, Customer],
        daemon: Daemon,
        endpoints: Iterable[Endpoint[..., Any]],
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        report: Report,
    ) -> None:
        self.endpoints = {each.action: each for each in endpoints}
        self._customers = customers
        self._daemon = daemon
        self._router = Router(self.endpoints.values())
        self._clock = clock
        self._monotonic = monotonic
        self._report = report
        self._per_token = Limiter(PER_TOKEN)
        self._per_address = Limiter(FAILURES_PER_ADDRESS)
        self._again = RecentReads(monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of any method as an ASGI application."""
        response = await self.answer(Request(scope, receive, send))
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Answer a request below /api; raises Problem."""
        caller = self.caller(request, self._principal(request))
        endpoint, ids = await self._find(caller, request.method, request.scope["path"])
        authorised = await endpoint.admit(caller, ids[0] if ids else "")
        async with authorised.audited():
            shown = await endpoint.run(authorised, *ids, **await endpoint.arguments(authorised))
        return responses.success(shown, endpoint.status)

    async def _find(self, caller: Caller, method: str, path: str) -> tuple[Endpoint[..., Any], tuple[str, ...]]:
        """Find the endpoint of a request, and the ids in its path; raises Problem 404, 405 or 429."""
        principal = caller.principal
        wait = self._per_token.take(principal.token, self._monotonic())
        if wait:
            raise too_many(wait)
        place = self._router.find(path)
        endpoint = place.endpoint(method)
        if place.customer != principal.customer.name:
            action = endpoint.action if endpoint else Action.UNKNOWN
            raise await refused(caller, action, "", not_found(), "not this customer's")
        if not place.methods:
            raise await refused(caller, Action.UNKNOWN, "", not_found(), "no such path")
        if endpoint is None:
            raise await refused(caller, Action.UNKNOWN, place.object, wrong_method(place.allowed), "no such method")
        return endpoint, place.ids

    def caller(self, request: Request, principal: Principal, *, again: str = "") -> Caller:
        """Return the sender of a request, who can call endpoints as functions.

        `again`: what a page view shows if it only refreshes itself; the audit log has one entry a minute for it.
        """
        look = self._again.look(principal.token, again) if again else FIRST
        return Caller(request, principal, self._daemon, self._report, look)

    def roles(self, action: Action) -> tuple[Role, ...]:
        """Return the roles that an action needs."""
        return self.endpoints[action].roles

    def _principal(self, request: Request) -> Principal:
        """Return the authenticated sender; raises Problem 401 or 429."""
        source = request.client.host if request.client else ""
        token = bearer.bearer(request.scope["headers"])
        found = token and bearer.find(self._customers, token, source, self._clock(), self._report)
        if not found:
            wait = self._per_address.take(source, self._monotonic())
            raise too_many(wait) if wait else unauthorized()
        return found
