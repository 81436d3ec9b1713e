"""Signing in through an OpenID provider: the browser goes there and returns with a code.

The session cookie is SameSite=Strict, so the browser sends it neither on its return nor on a redirect that follows. A
separate cookie, SameSite=Lax, ties the return to the browser that left. The answer to it is a page that loads the next
one by itself, and a request from our own page carries the Strict cookie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from admin_api.access.accounts_port import Declined, NotVouched, ProviderAway, ProviderLogin
from admin_api.http.problems import too_many
from admin_api.page.sign_in.login_backoff import PER_ADDRESS, LoginBackoff
from admin_api.page.sign_in.login_session import LoginSessions, onward, origin
from admin_api.page.sign_in.pending_logins import SECONDS, Pending, PendingStore
from admin_api.page.sign_in.public_request import PublicRequest
from admin_api.server.connection_limits import network, subscriber
from storage.customer.customers import Customer

COOKIE = "__Host-recorder-errand"
LEAVE, BACK = "/openid/leave", "/openid/back"
MAX_PARAMETER = 4096  # characters; codes have a few hundred
_TAKEN = ("code", "state", "iss", "error")
AWAY = "provider-away"
NOT_VOUCHED = "not-vouched"
LOST = "lost"


@dataclass(frozen=True, slots=True)
class Way:
    """Somebody who was sent to a provider."""

    provider_login: ProviderLogin
    """The sign-in as begun at the provider, to verify its answer."""
    customer: str
    """The customer that they want to sign in for."""
    onward: str
    """Path to go to after signing in."""
    again: str
    """The link that began it, to renew the session later."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        login = [self.provider_login.link, self.provider_login.state]
        return {"login": login, "onward": self.onward, "again": self.again}

    @classmethod
    def parse(cls, customer: Customer, found: Mapping[str, Any]) -> Way:
        """Parse the result of `document`."""
        return cls(ProviderLogin(*found["login"]), customer.name, found["onward"], found["again"])


class OidcLogins:
    """Sign-in through a provider."""

    def __init__(
        self, logins: LoginSessions, random: Callable[[int], bytes], ways: PendingStore[Way] | None = None
    ) -> None:
        """Take the store `ways` of several nodes; without it, this process keeps its own."""
        self._logins = logins
        self._service = logins.service
        self._ways: PendingStore[Way] = ways or Pending(random, logins.monotonic)
        self._addresses = LoginBackoff(PER_ADDRESS)

    async def leave(self, request: PublicRequest) -> Response:
        """Send the browser to the provider; raises Problem 429."""
        wait = self._addresses.take(subscriber(request.source), self._logins.monotonic())
        if wait:
            raise too_many(wait)
        providers, customer, number = (
            self._service.providers,
            request.parameter("customer"),
            request.parameter("provider"),
        )
        known = len(providers.names(customer)) if providers else 0
        if providers is None or number not in map(str, range(known)):
            return self._sorry(request, AWAY, 404)
        try:
            provider_login = await providers.begin(customer, int(number), origin(self._service, request.http) + BACK)
        except ProviderAway:
            return self._sorry(request, AWAY, 502)
        except Declined as declined:
            return self._sorry(request, str(declined), 409)
        again = f"{LEAVE}?customer={quote(customer)}&provider={number}"
        way = Way(provider_login, customer, onward(request.parameter("next")), again)
        key = await self._ways.keep(way, network(request.source), customer)
        answer = RedirectResponse(provider_login.link, 303)
        answer.set_cookie(COOKIE, key, int(SECONDS), path="/", secure=True, httponly=True, samesite="lax")
        return answer

    async def back(self, request: PublicRequest) -> Response:
        """Verify the parameters that the browser returned with, and sign the person in."""
        way = await self._ways.take(request.http.cookies.get(COOKIE, ""))
        providers = self._service.providers
        if way is None or providers is None:
            return self._sorry(request, LOST, 403)
        answer = {name: request.parameter(name)[:MAX_PARAMETER] for name in _TAKEN if request.parameter(name)}
        try:
            person = await providers.finish(way.provider_login, answer)
        except ProviderAway:
            return self._sorry(request, AWAY, 502)
        except NotVouched as problem:
            await self._logins.refused(request, way.customer, None, f"provider: {problem}")
            return self._sorry(request, NOT_VOUCHED, 403)
        self._addresses.forgive(subscriber(request.source))
        shown = request.page("onward.html", onward=way.onward)
        shown.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return await self._logins.open_session(request, person, "provider", shown, way.again)

    def _sorry(self, request: PublicRequest, trouble: str, status: int) -> Response:
        answer = request.page("not_vouched.html", status=status, trouble=trouble)
        answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return answer
