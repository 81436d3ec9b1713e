"""Shared by all ways to sign in: audit entries, the session and its cookie, the redirect afterwards."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_api.access.accounts_port import AccountService, Declined, Person
from admin_api.http.authorised_request import DONE, NOT_WRITTEN, append
from admin_api.http.bearer import Principal
from admin_api.http.problems import REFUSED, unavailable
from admin_api.http.rate_limit import Limiter
from admin_api.page.framework.forms import Secret
from admin_api.page.framework.sessions import COOKIE, SessionStore
from admin_api.page.sign_in.public_request import PublicRequest
from admin_api.server.connection_limits import network, subscriber
from storage.access.actor import STRANGER
from storage.audit.hash_chain import Act
from storage.customer.customers import Customer
from storage.errors import StorageError
from storage.token_buckets import Rate

SIGN_IN = "session.open"
SIGN_OUT = "session.close"
PASSWORD, APP = "account.password", "account.app"
"""The action names in the audit log."""
UNKNOWN_NAMES = Rate(0.5, 60.0)
"""Limit of audit entries about unknown names for one customer, so that random names cannot fill the disk. Further
attempts are counted, and the next entry gives their number."""
BUSY = "busy"
AGAIN = "too-late"
DIFFERENT = "different"
NAMELESS = "no-address"
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
_PLACE = re.compile(r"/[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*(\?[A-Za-z0-9._~%&=+-]*)?")
"""A path of this page with its query: no host, nothing that a browser could read as another address."""
MAX_PLACE = 2048  # characters


class LoginSessions:
    """Sessions of people who sign in, with audit entries for those let in or refused."""

    def __init__(self, service: AccountService, sessions: SessionStore, monotonic: Callable[[], float]) -> None:
        self.service = service
        self.monotonic = monotonic
        self._sessions = sessions
        self._unknown_names = Limiter(UNKNOWN_NAMES)
        self._unlisted: Counter[str] = Counter()

    async def open_session(
        self, request: PublicRequest, person: Person, how: str, answer: Response, again: str = ""
    ) -> Response:
        """Open a session and set its cookie on the answer; raises Problem 503 if it cannot be audited.

        `again`: path at which a provider can renew the session when it has ended.
        """
        if person.account:
            write_audit = audit_writer(person, SIGN_IN, how, request.source)
            await self.service.entered(person, write_audit, network(request.source), subscriber(request.source))
        else:
            await note(person, SIGN_IN, DONE, how, request.source)
        if request.session is not None:
            await self._sessions.close(request.session)
        principal = Principal(person.customer, "", person.name, person.roles, request.source, person.actor)
        session, cookie = await self._sessions.open(principal, self.monotonic(), person, again)
        if isinstance(answer, Secret):
            async with self._sessions.turn(session):
                answer = session.forms.kept(answer)
        answer.set_cookie(COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    async def refused(self, request: PublicRequest, customer: str, person: Person | None, why: str) -> None:
        """Audit a refused attempt; for an unknown name, never write the typed text.

        An attempt that is not written takes as long, so that timing does not reveal which customers and names exist.
        """
        found = self.service.customers.get(customer)
        if person is not None:
            await note(person, SIGN_IN, REFUSED, why, request.source)
        elif found is None:
            await _as_long(next(iter(self.service.customers.values()), None))
        elif self._unknown_names.take(customer, self.monotonic()):
            self._unlisted[customer] += 1
            await _as_long(found)
        else:
            more = self._unlisted.pop(customer, 0)
            reason = f"{why}; before it {more} that are not listed" if more else why
            await append(found, Act.of(STRANGER, "", SIGN_IN, "", REFUSED, reason, request.source))

    async def leave(self, request: PublicRequest) -> Response:
        """End the session, if there is one."""
        answer = RedirectResponse("/sign-in", 303)
        session = request.session
        if session is not None:
            await self._sessions.close(session)
            answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
            if session.person is not None:
                await note(session.person, SIGN_OUT, DONE, "", request.source)
        return answer


async def note(person: Person, action: str, outcome: str, reason: str, source: str) -> None:
    """Audit a change of credentials durably; raises Problem 503."""
    await append(person.customer, _act(person, action, outcome, reason, source))


def audit_writer(person: Person, action: str, reason: str, source: str) -> Callable[[], None]:
    """Return a function that audits a change durably just before it is made, in the thread that makes it.

    The function raises Problem 503; then nothing is changed.
    """

    def write_audit() -> None:
        try:
            person.customer.audit.append(_act(person, action, DONE, reason, source)).result()
        except StorageError:
            raise unavailable(NOT_WRITTEN) from None

    return write_audit


def _act(person: Person, action: str, outcome: str, reason: str, source: str) -> Act:
    return Act.of(person.actor, ",".join(person.roles), action, person.account, outcome, reason, source)


async def _as_long(customer: Customer | None) -> None:
    """Take as long as writing an audit entry; a log that cannot be written is reported when an entry matters."""
    if customer is not None:
        with suppress(StorageError):
            await asyncio.wrap_future(customer.audit.beat())


def onward(wanted: str) -> str:
    """Return where to go after signing in: the requested page if it is on this host, else the first."""
    return wanted if len(wanted) <= MAX_PLACE and _PLACE.fullmatch(wanted) else "/"


def origin(service: AccountService, request: Request) -> str:
    """Return the page's origin: as configured, else the one of a browser on this machine; raises Declined.

    Any other `Host` header may be forged, and would decide which site gets passkeys and a provider's code.
    """
    if service.address:
        return service.address
    host = request.headers.get("host", "")
    if not _LOOPBACK.fullmatch(host):
        raise Declined(NAMELESS)
    return f"{request.url.scheme}://{host}"
