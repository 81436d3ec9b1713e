"""What every way in has in common: the audit log, the session with its cookie, and where one goes then."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_api.auth import Principal
from admin_api.errors import unavailable
from admin_api.household import Household, Person
from admin_api.page.guest import Guest
from admin_api.page.sessions import COOKIE, Sessions
from admin_api.request import DONE, REFUSED
from storage.audit_chain import Act
from storage.customers import Customer
from storage.errors import StorageError

SIGN_IN = "session.open"
SIGN_OUT = "session.close"
_PLACE = re.compile(r"/[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*")
"""A path of ours: no query, no host, nothing that a browser could read as another address."""


class Entering:
    """Lets people in, and writes down whom, and whom not."""

    def __init__(self, household: Household, sessions: Sessions, monotonic: Callable[[], float]) -> None:
        self.household = household
        self.monotonic = monotonic
        self._sessions = sessions

    async def let_in(self, guest: Guest, person: Person, how: str, answer: Response) -> Response:
        """Open a session and give its cookie along with the answer; raises Problem 503 if it cannot be noted."""
        await note(person, SIGN_IN, DONE, how, guest.source)
        if person.account:
            await self.household.entered(person)
        if guest.session is not None:
            self._sessions.close(guest.session)
        principal = Principal(person.customer, "", person.name, person.roles, guest.source)
        _, cookie = self._sessions.open(principal, self.monotonic(), person)
        answer.set_cookie(COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    async def refused(self, guest: Guest, customer: str, person: Person | None, why: str) -> None:
        """Write down a refused try; of a name that nobody has only that there was one, never what was typed."""
        found = self.household.customers.get(customer)
        if person is not None:
            await note(person, SIGN_IN, REFUSED, why, guest.source)
        elif found is not None:
            await _append(found, Act("unknown", "", SIGN_IN, "", REFUSED, why, guest.source))

    async def leave(self, guest: Guest) -> Response:
        """End the session, if there is one."""
        answer = RedirectResponse("/sign-in", 303)
        session = guest.session
        if session is not None:
            self._sessions.close(session)
            answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
            if session.person is not None:
                await note(session.person, SIGN_OUT, DONE, "", guest.source)
        return answer


async def note(person: Person, action: str, outcome: str, reason: str, source: str) -> None:
    """Write what somebody did to the way they get in, durably; raises Problem 503."""
    act = Act(person.name, ",".join(person.roles), action, person.account, outcome, reason, source)
    await _append(person.customer, act)


async def _append(customer: Customer, act: Act) -> None:
    try:
        await asyncio.wrap_future(customer.audit.append(act))
    except StorageError:
        raise unavailable("The audit log cannot be written, so nothing is shown or done.") from None


def onward(wanted: str) -> str:
    """Return where somebody goes who got in: the page they asked for if it is one of ours, else the first."""
    return wanted if _PLACE.fullmatch(wanted) else "/"


def origin(household: Household, request: Request) -> str:
    """Return the page's origin as its visitor's browser has it."""
    return household.address or f"{request.url.scheme}://{request.headers.get('host', '')}"
