"""Check every request below /api in one order: token, rate, customer, path, role, and only then the object.

The answer never depends on anything the token may not know. Without a valid token everything is 401; below another
customer everything is 404, as if that customer did not exist; without the role everything is 403.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from admin_api.http import bearer
from admin_api.http.audit_dedup import RecentReads, Repeat
from admin_api.http.authorised_request import FIRST, REFUSED, AuthorisedRequest
from admin_api.http.bearer import Principal, Report
from admin_api.http.permissions import Action, Rule, Wanted, wanted
from admin_api.http.ports import Daemon
from admin_api.http.problems import Problem, forbidden, not_found, too_many, unauthorized, wrong_method
from admin_api.http.rate_limit import FAILURES_PER_ADDRESS, PER_TOKEN, Limiter
from storage.customer.customers import Customer

Handler = Callable[[AuthorisedRequest], Awaitable[Response]]


class Authoriser:
    """Authorise a request, then pass it to its handler."""

    def __init__(
        self,
        customers: Mapping[str, Customer],
        daemon: Daemon,
        handlers: Mapping[Action, Handler],
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        report: Report,
    ) -> None:
        self._customers = customers
        self._daemon = daemon
        self._handlers = handlers
        self._clock = clock
        self._monotonic = monotonic
        self._report = report
        self._per_token = Limiter(PER_TOKEN)
        self._per_address = Limiter(FAILURES_PER_ADDRESS)
        self._again = RecentReads()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of any method as an ASGI application."""
        request = Request(scope, receive, send)
        response = await self.answer(request)
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Answer a request below /api; raises Problem."""
        return await self.admit(request, self._principal(request))

    async def admit(self, request: Request, principal: Principal) -> Response:
        """Answer a request whose sender is already known, by token or by session; raises Problem."""
        wait = self._per_token.take(principal.token, self._monotonic())
        if wait:
            raise too_many(wait)
        place = wanted(request.scope["path"])
        rule = place.rule(request.method)
        if place.customer != principal.customer.name:
            raise await self._refusal(request, principal, rule, "", not_found(), "not this customer's")
        if not place.rules:
            raise await self._refusal(request, principal, None, "", not_found(), "no such path")
        if rule is None:
            raise await self._refusal(
                request, principal, None, place.object, wrong_method(place.methods), "no such method"
            )
        return await self._serve(request, principal, place, rule)

    def _principal(self, request: Request) -> Principal:
        """Find out who asks; raises Problem 401 or 429."""
        source = request.client.host if request.client else ""
        token = bearer.bearer(request.scope["headers"])
        found = token and bearer.find(self._customers, token, source, self._clock(), self._report)
        if not found:
            wait = self._per_address.take(source, self._monotonic())
            raise too_many(wait) if wait else unauthorized()
        return found

    async def _serve(self, request: Request, principal: Principal, place: Wanted, rule: Rule) -> Response:
        role = principal.role(rule.roles)
        if role is None:
            raise await self._refusal(request, principal, rule, place.object, forbidden(rule.roles), "role")
        look = self._look(request, principal, rule)
        authorised = AuthorisedRequest(
            request, principal, rule.action, role, place.object, self._daemon, place.part, look
        )
        return await self._handlers[rule.action](authorised)

    def _look(self, request: Request, principal: Principal, rule: Rule) -> Repeat:
        """Return whether a page view only refreshes what it showed, and that look was logged within the last minute."""
        if rule.method != "GET" or not request.scope.get("recorder.again"):
            return FIRST
        question = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"
        return self._again.look(principal.token, question, self._monotonic())

    async def _refusal(
        self, request: Request, principal: Principal, rule: Rule | None, object: str, problem: Problem, why: str
    ) -> Problem:
        """Log a refused attempt for the token's own customer; return the refusal even if logging failed."""
        action = rule.action if rule else Action.UNKNOWN
        authorised = AuthorisedRequest(request, principal, action, ",".join(principal.roles), object, self._daemon)
        try:
            await authorised.note(REFUSED, why)
        except Problem as failed:
            self._report(failed)
        return problem
