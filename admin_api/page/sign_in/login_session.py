"""What every way in has in common: the audit log, the session with its cookie, and where one goes then."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_api.access.accounts_port import Declined, Household, Person
from admin_api.http.authorised_request import DONE, NOT_WRITTEN, REFUSED
from admin_api.http.bearer import Principal
from admin_api.http.problems import unavailable
from admin_api.http.rate_limit import Limiter
from admin_api.page.framework.forms import Secret
from admin_api.page.framework.sessions import COOKIE, Sessions
from admin_api.page.sign_in.guest import Guest
from admin_api.server.connection_limits import neighbourhood, network
from storage.access.actor import STRANGER
from storage.audit.hash_chain import Act
from storage.customer.customers import Customer
from storage.errors import StorageError
from storage.token_buckets import Rate

SIGN_IN = "session.open"
SIGN_OUT = "session.close"
PASSWORD, APP = "account.password", "account.app"
"""What stands in the audit log."""
STRANGERS = Rate(0.5, 60.0)
"""Entries about people whom nobody knows, of one customer: whoever types names at random fills no disk with them.
What is beyond is counted, and the next entry says how many there were."""
BUSY = "Too many people are signing in. Try again in a moment."
AGAIN = "That took too long. Begin again."
DIFFERENT = "The two passwords are not the same."
NAMELESS = (
    "The address of this page is not configured, so neither passkeys nor sign-in services work. "
    "Ask who looks after the recorder."
)
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
_PLACE = re.compile(r"/[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*(\?[A-Za-z0-9._~%&=+-]*)?")
"""A path of ours and its query: no host, nothing that a browser could read as another address."""
MAX_PLACE = 2048  # characters


class Entering:
    """Lets people in, and writes down whom, and whom not."""

    def __init__(self, household: Household, sessions: Sessions, monotonic: Callable[[], float]) -> None:
        self.household = household
        self.monotonic = monotonic
        self._sessions = sessions
        self._strangers = Limiter(STRANGERS)
        self._untold: Counter[str] = Counter()

    async def let_in(self, guest: Guest, person: Person, how: str, answer: Response, again: str = "") -> Response:
        """Open a session and give its cookie along with the answer; raises Problem 503 if it cannot be noted.

        `again`: where a provider vouches for them anew when the session has come to its end.
        """
        if person.account:
            tell = telling(person, SIGN_IN, how, guest.source)
            await self.household.entered(person, tell, network(guest.source), neighbourhood(guest.source))
        else:
            await note(person, SIGN_IN, DONE, how, guest.source)
        if guest.session is not None:
            self._sessions.close(guest.session)
        principal = Principal(person.customer, "", person.name, person.roles, guest.source, person.actor)
        session, cookie = self._sessions.open(principal, self.monotonic(), person, again)
        if isinstance(answer, Secret):
            answer = session.forms.kept(answer)
        answer.set_cookie(COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    async def refused(self, guest: Guest, customer: str, person: Person | None, why: str) -> None:
        """Write down a refused try; of a name that nobody has only that there was one, never what was typed.

        What is not written down takes as long, so that nobody learns by a clock which customers and names there are.
        """
        found = self.household.customers.get(customer)
        if person is not None:
            await note(person, SIGN_IN, REFUSED, why, guest.source)
        elif found is None:
            await _as_long(next(iter(self.household.customers.values()), None))
        elif self._strangers.take(customer, self.monotonic()):
            self._untold[customer] += 1
            await _as_long(found)
        else:
            more = self._untold.pop(customer, 0)
            reason = f"{why}; before it {more} that are not listed" if more else why
            await _append(found, Act.of(STRANGER, "", SIGN_IN, "", REFUSED, reason, guest.source))

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
    await _append(person.customer, _act(person, action, outcome, reason, source))


def telling(person: Person, action: str, reason: str, source: str) -> Callable[[], None]:
    """Return what writes a change down, durably, just before it is made, in the thread that makes it.

    Raises Problem 503; then nothing is changed.
    """

    def tell() -> None:
        try:
            person.customer.audit.append(_act(person, action, DONE, reason, source)).result()
        except StorageError:
            raise unavailable(NOT_WRITTEN) from None

    return tell


def _act(person: Person, action: str, outcome: str, reason: str, source: str) -> Act:
    return Act.of(person.actor, ",".join(person.roles), action, person.account, outcome, reason, source)


async def _append(customer: Customer, act: Act) -> None:
    try:
        await asyncio.wrap_future(customer.audit.append(act))
    except StorageError:
        raise unavailable(NOT_WRITTEN) from None


async def _as_long(customer: Customer | None) -> None:
    """Take the time of an entry; a log that cannot be written is for those to tell whom it is about."""
    if customer is not None:
        with suppress(StorageError):
            await asyncio.wrap_future(customer.audit.beat())


def onward(wanted: str) -> str:
    """Return where somebody goes who got in: the page they asked for if it is one of ours, else the first."""
    return wanted if len(wanted) <= MAX_PLACE and _PLACE.fullmatch(wanted) else "/"


def origin(household: Household, request: Request) -> str:
    """Return the page's origin: as configured, else as a browser on this machine has it; raises Declined.

    Any other `Host` may be made up, and would decide whom passkeys are shown to and where a provider sends a code.
    """
    if household.address:
        return household.address
    host = request.headers.get("host", "")
    if not _LOOPBACK.fullmatch(host):
        raise Declined(NAMELESS)
    return f"{request.url.scheme}://{host}"
