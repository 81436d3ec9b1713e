"""Signing in with an account: name and password, then the second factor, or setting one up.

Between the pages, a random key in the form identifies the sign-in; its data is kept for ten minutes. Wrong name,
wrong password, disabled account, no password yet: the answer is the same sentence after the same time. Frequent
attempts queue (admin_api.page.sign_in.login_backoff); if the wait would be too long, the person is told to come back.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response

from admin_api.access.accounts_port import Busy, Declined, Person
from admin_api.page.sign_in import qr
from admin_api.page.sign_in.login_backoff import (
    MAX_DELAY,
    PER_ACCOUNT,
    PER_CODE,
    PER_NETWORK,
    PER_SHARED_ADDRESS,
    PER_USUAL,
    Attempts,
    AttemptStore,
    DelayedAttempts,
    Try,
)
from admin_api.page.sign_in.login_session import AGAIN, APP, BUSY, LoginSessions, audit_writer, onward, origin
from admin_api.page.sign_in.pending_logins import Pending, PendingStore
from admin_api.page.sign_in.public_request import PublicRequest
from admin_api.server.connection_limits import network, subscriber
from storage.access.account import canonical
from storage.customer.customers import Customer

WRONG = "wrong"
WRONG_CODE = "wrong-code"
WRONG_PASSKEY = "wrong-passkey"
BUSY_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Step:
    """A person whose password was right."""

    person: Person
    """The person."""
    onward: str
    """Path to go to after signing in."""
    secret: str = ""
    """Secret of the authenticator app that is being set up."""
    link: str = ""
    """The secret in the form for the QR code."""
    challenge: Any = None
    """The challenge for their passkey."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        rest = {"onward": self.onward, "secret": self.secret, "link": self.link, "challenge": self.challenge}
        return {"person": self.person.document(), **rest}

    @classmethod
    def parse(cls, customer: Customer, found: Mapping[str, Any]) -> Step:
        """Parse the result of `document`."""
        person = Person.parse(customer, found["person"])
        return cls(person, found["onward"], found["secret"], found["link"], found["challenge"])


class SignIn:
    """The pages from /sign-in on."""

    def __init__(
        self,
        logins: LoginSessions,
        random: Callable[[int], bytes],
        steps: PendingStore[Step] | None = None,
        attempts: AttemptStore | None = None,
    ) -> None:
        """Take the stores `steps` and `attempts` of several nodes; without them, this process keeps its own."""
        self._logins = logins
        self._service = logins.service
        self._monotonic = logins.monotonic
        self._steps: PendingStore[Step] = steps or Pending(random, logins.monotonic)
        self._attempts: AttemptStore = attempts or Attempts()
        self._delayed = DelayedAttempts()

    async def form(self, request: PublicRequest) -> Response:
        """Show the form; redirect somebody who is signed in."""
        if request.session is not None:
            return RedirectResponse(onward(request.parameter("next")), 303)
        return self._form(request, customer=request.parameter("customer"), next=request.parameter("next"))

    async def password(self, request: PublicRequest) -> Response:
        """Check name and password."""
        customer = self._customer(request)
        name = request.one("name")
        tries = self._tries(request, customer, name)
        refused = await self._turn(request, customer, tries)
        if refused:
            return self._again(request, "", 429, refused)
        try:
            elsewhere = "" if tries[1][0] is PER_USUAL else network(request.source)
            person = await self._service.enter(customer, name, request.one("password"), elsewhere)
        except Busy:
            await self._attempts.forgive(customer, tries[1:])  # the address's attempt still counts
            return self._again(request, BUSY, 503, BUSY_SECONDS)
        if person is None:
            await self._logins.refused(request, customer, self._service.known(customer, name), "password")
            return self._again(request, WRONG, 403)
        own = [each for each in tries if each[0] in (PER_USUAL, PER_NETWORK)]
        await self._attempts.passed(customer, own)
        others = [each for each in tries if each not in own]  # a right attempt does not excuse those of others
        await self._attempts.forgive(customer, others)
        return await self.beyond(request, person, onward(request.one("next")))

    def _tries(self, request: PublicRequest, customer: str, name: str) -> list[Try]:
        """Return the keys under which a password attempt is counted; unknown names are counted too."""
        key = _key(customer, name)
        address = (PER_SHARED_ADDRESS, subscriber(request.source))
        usual = self._place(request, self._service.known(customer, name))
        if usual:
            return [address, (PER_USUAL, f"{key} {usual}")]
        return [address, (PER_NETWORK, f"{key} {network(request.source)}"), (PER_ACCOUNT, key)]

    def _place(self, request: PublicRequest, person: Person | None) -> str:
        """Return the address if the account signed in from it before, else the network if from that, else ""."""
        places = (subscriber(request.source), network(request.source))
        return next((place for place in places if self._service.usual(person, place)), "")

    async def _turn(self, request: PublicRequest, customer: str, tries: list[Try]) -> int:
        """Wait until an attempt may be checked and return 0; or return the seconds to wait, with nothing counted."""
        address, counted, queued = subscriber(request.source), False, False

        def admit(wait: float) -> bool:
            nonlocal counted, queued
            queued = 0 < wait <= MAX_DELAY and self._delayed.enter(address)
            counted = wait <= 0 or queued
            return counted

        try:
            wait = await self._attempts.count(customer, tries, self._monotonic(), admit)
            if queued:
                await self._service.pause(wait)
        finally:
            if queued:
                self._delayed.leave(address)
        return 0 if counted else math.ceil(wait)

    async def beyond(self, request: PublicRequest, person: Person, to: str) -> Response:
        """Continue after a correct password: ask for the second factor, have one set up, or sign in."""
        factors = self._service.factors(person)
        if factors.any:
            return await self._ask(request, person, to)
        if self._service.second_factor_required:
            app = self._service.new_app(person)
            return await self._set_up(request, Step(person, to, app.secret, app.link))
        return await self._logins.open_session(request, person, "password", RedirectResponse(to, 303))

    async def factor(self, request: PublicRequest) -> Response:
        """Check a code or the answer of a passkey."""
        step = await self._steps.take(request.one("step"))
        if step is None:
            return self._again(request, AGAIN, 403)
        person, answer = step.person, request.one("answer")
        customer, code = person.customer.name, (PER_CODE, self._counted(request, person))
        wait = await self._attempts.count(customer, [code], self._monotonic(), lambda wait: wait <= 0)
        if wait > 0:
            return await self._ask(request, person, step.onward, status=429, wait=math.ceil(wait))
        if answer:
            right = await self._proven(request, step, answer)
        else:
            right = await self._service.code(person, request.one("code"))
        how = "passkey" if answer else "code"
        if not right:
            await self._logins.refused(request, person.customer.name, person, how)
            wrong = WRONG_PASSKEY if answer else WRONG_CODE
            return await self._ask(request, person, step.onward, status=403, trouble=wrong)
        await self._attempts.passed(customer, [code])
        return await self._logins.open_session(
            request, person, f"password and {how}", RedirectResponse(step.onward, 303)
        )

    def _counted(self, request: PublicRequest, person: Person) -> str:
        """Return the key for wrong codes; attempts from elsewhere do not count against a known address."""
        return f"{person.account} {self._place(request, person)}".rstrip()

    async def _proven(self, request: PublicRequest, step: Step, answer: str) -> bool:
        """Verify a passkey's answer; without a valid origin of the page, none is accepted."""
        try:
            place = origin(self._service, request.http)
        except Declined:
            return False
        return await self._service.prove(step.person, place, step.challenge, answer)

    async def app(self, request: PublicRequest) -> Response:
        """Set up an authenticator app that shows the right code, and sign the person in."""
        step = await self._steps.take(request.one("step"))
        if step is None or not step.secret:
            return self._again(request, AGAIN, 403)
        try:
            write_audit = audit_writer(step.person, APP, "at sign-in", request.source)
            codes = await self._service.add_app(step.person, step.secret, request.one("code"), write_audit, first=True)
        except Declined as declined:
            return await self._set_up(request, step, status=403, trouble=str(declined))
        shown = request.secret("codes.html", step.onward, codes=codes)
        return await self._logins.open_session(request, step.person, "password and new app", shown)

    async def _ask(
        self, request: PublicRequest, person: Person, to: str, *, status: int = 200, trouble: str = "", wait: int = 0
    ) -> Response:
        factors = self._service.factors(person)
        challenge = options = None
        if factors.devices:
            try:
                asked = self._service.challenge(person, origin(self._service, request.http))
                challenge, options = asked.state, json.dumps(asked.options)
            except Declined as declined:
                trouble = trouble or str(declined)  # a code still works
        step = Step(person, to, challenge=challenge)
        key = await self._steps.keep(step, network(request.source), person.customer.name)
        values = {"step": key, "factors": factors, "options": options, "trouble": trouble}
        return request.page("factor.html", status=status, wait=wait, **values)

    async def _set_up(self, request: PublicRequest, step: Step, *, status: int = 200, trouble: str = "") -> Response:
        key = await self._steps.keep(step, network(request.source), step.person.customer.name)
        picture = qr.code(step.link)
        return request.page("app.html", status=status, step=key, secret=step.secret, picture=picture, trouble=trouble)

    def _again(self, request: PublicRequest, trouble: str, status: int, wait: int = 0) -> Response:
        typed = {name: request.one(name) for name in ("customer", "next")}
        return self._form(request, **typed, status=status, trouble=trouble, wait=wait)

    def _form(
        self, request: PublicRequest, *, customer: str, next: str, status: int = 200, trouble: str = "", wait: int = 0
    ) -> Response:
        several = len(self._service.customers) > 1
        known = customer if several else self._customer(request)
        providers = self._service.providers
        return request.page(
            "sign_in.html",
            status=status,
            several=several,
            customer=customer,
            next=onward(next),
            lost=request.http.method == "GET" and request.parameter("lost") == "1",
            trouble=trouble,
            wait=wait,
            providers=providers.names(known) if providers else (),
            known=known,
        )

    def _customer(self, request: PublicRequest) -> str:
        """Return the typed customer, or the only one."""
        names = list(self._service.customers)
        return names[0] if len(names) == 1 else request.one("customer").strip().lower()


def _key(customer: str, name: str) -> str:
    """Return the key for attempts with a name; the typed text is not kept."""
    return hashlib.sha256(f"{customer}\0{canonical(name)}".encode("utf-8", "replace")).hexdigest()
