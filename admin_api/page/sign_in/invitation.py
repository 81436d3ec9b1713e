"""The one-time link: opening it changes nothing, so a link preview does not use it up; sending its form does."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.access.accounts_port import Busy, Declined, no_audit
from admin_api.page.sign_in.login_backoff import PER_ADDRESS, LoginBackoff
from admin_api.page.sign_in.login_session import BUSY, DIFFERENT, PASSWORD, LoginSessions, audit_writer
from admin_api.page.sign_in.public_request import PublicRequest
from admin_api.page.sign_in.sign_in import BUSY_SECONDS, SignIn
from admin_api.server.connection_limits import subscriber

VOID = "link-void"


class Invitations:
    """The page that a one-time link leads to."""

    def __init__(self, logins: LoginSessions, sign_in: SignIn) -> None:
        self._service = logins.service
        self._logins = logins
        self._sign_in = sign_in
        self._addresses = LoginBackoff(PER_ADDRESS)

    async def look(self, request: PublicRequest) -> Response:
        """Show the form for a new password."""
        await self._service.fresh(request.parameter("customer"))
        return self._show(request, request.parameter("customer"), request.parameter("key"))

    async def use(self, request: PublicRequest) -> Response:
        """Set the password, then continue as after signing in with it."""
        customer, key, password = request.one("customer"), request.one("key"), request.one("password")
        if password != request.one("again"):
            return self._show(request, customer, key, status=422, trouble=DIFFERENT)
        await self._service.fresh(customer)
        found = self._service.invited(customer, key)
        write_audit = audit_writer(found, PASSWORD, "one-time link", request.source) if found else no_audit
        try:
            person = await self._service.accept(customer, key, password, write_audit)
        except Declined as declined:
            return self._show(request, customer, key, status=422, trouble=str(declined))
        except Busy:
            return self._show(request, customer, key, status=503, trouble=BUSY, wait=BUSY_SECONDS)
        if person is None:
            return self._show(request, customer, key)
        return await self._sign_in.beyond(request, person, "/")

    def _show(
        self, request: PublicRequest, customer: str, key: str, *, status: int = 200, trouble: str = "", wait: int = 0
    ) -> Response:
        turn = self._addresses.take(subscriber(request.source), self._logins.monotonic())
        if turn:
            return request.page("invitation.html", status=429, found=None, trouble="", wait=turn)
        found = self._service.invited(customer, key)
        if found is None:
            return request.page("invitation.html", status=404, found=None, customer=customer, trouble=VOID)
        self._addresses.forgive(subscriber(request.source))
        values = {"found": found, "customer": customer, "key": key, "trouble": trouble}
        return request.page("invitation.html", status=status, wait=wait, **values)
