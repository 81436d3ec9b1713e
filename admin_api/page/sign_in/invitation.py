"""The one-time link: looking at it changes nothing, so that a preview of it does not use it up; its form does."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.access.accounts_port import Busy, Declined, silent
from admin_api.page.sign_in.guest import Guest
from admin_api.page.sign_in.login_backoff import PER_ADDRESS, Patience
from admin_api.page.sign_in.login_session import BUSY, DIFFERENT, PASSWORD, Entering, telling
from admin_api.page.sign_in.sign_in import BUSY_SECONDS, SignIn, patiently
from admin_api.server.connection_limits import neighbourhood

VOID = "This link has been used or is too old. Ask for a new one: recorder admin reset NAME."


class Invitations:
    """The page that a one-time link leads to."""

    def __init__(self, entering: Entering, sign_in: SignIn) -> None:
        self._household = entering.household
        self._entering = entering
        self._sign_in = sign_in
        self._addresses = Patience(PER_ADDRESS)

    async def look(self, guest: Guest) -> Response:
        """Show the form for a new password."""
        return self._show(guest, guest.asked("customer"), guest.asked("key"))

    async def use(self, guest: Guest) -> Response:
        """Set the password; then everything goes on as after signing in with it."""
        customer, key, password = guest.one("customer"), guest.one("key"), guest.one("password")
        if password != guest.one("again"):
            return self._show(guest, customer, key, status=422, trouble=DIFFERENT)
        found = self._household.invited(customer, key)
        tell = telling(found, PASSWORD, "one-time link", guest.source) if found else silent
        try:
            person = await self._household.accept(customer, key, password, tell)
        except Declined as declined:
            return self._show(guest, customer, key, status=422, trouble=str(declined))
        except Busy:
            return patiently(self._show(guest, customer, key, status=503, trouble=BUSY), BUSY_SECONDS)
        if person is None:
            return self._show(guest, customer, key)
        return await self._sign_in.beyond(guest, person, "/")

    def _show(self, guest: Guest, customer: str, key: str, *, status: int = 200, trouble: str = "") -> Response:
        wait = self._addresses.take(neighbourhood(guest.source), self._entering.monotonic())
        if wait:
            return patiently(guest.page("invitation.html", status=429, found=None, trouble="", wait=wait), wait)
        found = self._household.invited(customer, key)
        if found is None:
            void = {"found": None, "customer": customer, "trouble": VOID, "wait": 0}
            return guest.page("invitation.html", status=404, **void)
        self._addresses.forgive(neighbourhood(guest.source))
        values = {"found": found, "customer": customer, "key": key, "trouble": trouble, "wait": 0}
        return guest.page("invitation.html", status=status, **values)
