"""Signing in with an account: name and password, then the second factor that is on file, or setting one up.

Between the pages only a random key in the form says who it is; what it stands for is kept here for ten minutes. Wrong
name, wrong password, disabled, no password yet: one sentence, after the same time. Whoever tries too often waits for
their turn (admin_api.page.sign_in.login_backoff); only where that would take too long are they told to come back.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response

from admin_api.access.accounts_port import Busy, Declined, Person
from admin_api.page.sign_in import qr
from admin_api.page.sign_in.guest import Guest
from admin_api.page.sign_in.login_backoff import (
    MAX_DELAY,
    PER_ACCOUNT,
    PER_CODE,
    PER_NETWORK,
    PER_USUAL,
    PER_VISITOR,
    Delayed,
    Patience,
)
from admin_api.page.sign_in.login_session import AGAIN, APP, BUSY, Entering, onward, origin, telling
from admin_api.page.sign_in.pending_logins import Pending
from admin_api.server.connection_limits import neighbourhood, network
from storage.access.account import canonical

WRONG = "Name or password is not right."
WRONG_CODE = "This code is not right."
WRONG_PASSKEY = "This passkey is not right."
BUSY_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Step:
    """Somebody whose password was right."""

    person: Person
    """Who."""
    onward: str
    """Where they go then."""
    secret: str = ""
    """Of the authenticator app that is being set up."""
    link: str = ""
    """As the QR code has it."""
    challenge: Any = None
    """What their passkey answers to."""


class SignIn:
    """The pages from /sign-in on."""

    def __init__(self, entering: Entering, random: Callable[[int], bytes]) -> None:
        self._entering = entering
        self._household = entering.household
        self._monotonic = entering.monotonic
        self._steps: Pending[Step] = Pending(random)
        self._visitors = Patience(PER_VISITOR)
        self._usual = Patience(PER_USUAL)
        self._networks = Patience(PER_NETWORK)
        self._accounts = Patience(PER_ACCOUNT)
        self._codes = Patience(PER_CODE)
        self._delayed = Delayed()

    async def form(self, guest: Guest) -> Response:
        """Show the form; whoever is in goes on."""
        if guest.session is not None:
            return RedirectResponse(onward(guest.asked("next")), 303)
        return self._form(guest, customer=guest.asked("customer"), next=guest.asked("next"))

    async def password(self, guest: Guest) -> Response:
        """Check name and password."""
        customer = self._customer(guest)
        name = guest.one("name")
        tries = self._tries(guest, customer, name)
        refused = await self._turn(guest, tries)
        if refused:
            return self._again(guest, "", 429, refused)
        try:
            elsewhere = "" if tries[1][0] is self._usual else network(guest.source)
            person = await self._household.enter(customer, name, guest.one("password"), elsewhere)
        except Busy:
            for patience, key in tries[1:]:  # its address pays: whoever fills the queue does not try on for nothing
                patience.forgive(key)
            return self._again(guest, BUSY, 503, BUSY_SECONDS)
        if person is None:
            await self._entering.refused(guest, customer, self._household.known(customer, name), "password")
            return self._again(guest, WRONG, 403)
        for patience, key in tries:
            if patience in (self._usual, self._networks):
                patience.passed(key)
            else:  # one right try says nothing about those of others
                patience.forgive(key)
        return await self.beyond(guest, person, onward(guest.one("next")))

    def _tries(self, guest: Guest, customer: str, name: str) -> list[tuple[Patience, str]]:
        """List under what a try of a password is counted; names that nobody has are counted as well."""
        key = _key(customer, name)
        visitor = (self._visitors, neighbourhood(guest.source))
        usual = self._place(guest, self._household.known(customer, name))
        if usual:
            return [visitor, (self._usual, f"{key} {usual}")]
        return [visitor, (self._networks, f"{key} {network(guest.source)}"), (self._accounts, key)]

    def _place(self, guest: Guest, person: Person | None) -> str:
        """Return the address if somebody signed in from it before, else the network if from there, else ""."""
        places = (neighbourhood(guest.source), network(guest.source))
        return next((place for place in places if self._household.usual(person, place)), "")

    async def _turn(self, guest: Guest, tries: list[tuple[Patience, str]]) -> int:
        """Wait until a try may be judged, and return 0; or after how many seconds to come back, nothing counted."""
        now, address = self._monotonic(), neighbourhood(guest.source)
        wait = max(patience.wait(key, now) for patience, key in tries)
        if wait > MAX_DELAY or (wait > 0 and not self._delayed.enter(address)):
            return math.ceil(wait)
        for patience, key in tries:
            patience.count(key, now)
        if wait > 0:
            try:
                await self._household.pause(wait)
            finally:
                self._delayed.leave(address)
        return 0

    async def beyond(self, guest: Guest, person: Person, to: str) -> Response:
        """Go on with somebody whose password is right: ask for the second factor, have one set up, or let them in."""
        factors = self._household.factors(person)
        if factors.any:
            return self._ask(guest, person, to)
        if self._household.second_factor_required:
            app = self._household.new_app(person)
            return self._set_up(guest, Step(person, to, app.secret, app.link))
        return await self._entering.let_in(guest, person, "password", RedirectResponse(to, 303))

    async def factor(self, guest: Guest) -> Response:
        """Check a code or the answer of a passkey."""
        step = self._steps.take(guest.one("step"), self._monotonic())
        if step is None:
            return self._again(guest, AGAIN, 403)
        person, answer = step.person, guest.one("answer")
        code = self._counted(guest, person)
        wait = self._codes.take(code, self._monotonic())
        if wait:
            return self._ask(guest, person, step.onward, status=429, wait=wait)
        if answer:
            right = await self._proven(guest, step, answer)
        else:
            right = await self._household.code(person, guest.one("code"))
        how = "passkey" if answer else "code"
        if not right:
            await self._entering.refused(guest, person.customer.name, person, how)
            wrong = WRONG_PASSKEY if answer else WRONG_CODE
            return self._ask(guest, person, step.onward, status=403, trouble=wrong)
        self._codes.passed(code)
        return await self._entering.let_in(guest, person, f"password and {how}", RedirectResponse(step.onward, 303))

    def _counted(self, guest: Guest, person: Person) -> str:
        """Return what wrong codes count under: nobody elsewhere uses up the tries of a usual place."""
        return f"{person.account} {self._place(guest, person)}".rstrip()

    async def _proven(self, guest: Guest, step: Step, answer: str) -> bool:
        """Judge the answer of a passkey; where no page has an origin that counts none is right."""
        try:
            place = origin(self._household, guest.request)
        except Declined:
            return False
        return await self._household.prove(step.person, place, step.challenge, answer)

    async def app(self, guest: Guest) -> Response:
        """Put an authenticator app on file that shows the right code, and let its owner in."""
        step = self._steps.take(guest.one("step"), self._monotonic())
        if step is None or not step.secret:
            return self._again(guest, AGAIN, 403)
        try:
            tell = telling(step.person, APP, "at sign-in", guest.source)
            codes = await self._household.add_app(step.person, step.secret, guest.one("code"), tell, first=True)
        except Declined as declined:
            return self._set_up(guest, step, status=403, trouble=str(declined))
        shown = guest.secret("codes.html", step.onward, codes=codes)
        return await self._entering.let_in(guest, step.person, "password and new app", shown)

    def _ask(
        self, guest: Guest, person: Person, to: str, *, status: int = 200, trouble: str = "", wait: int = 0
    ) -> Response:
        factors = self._household.factors(person)
        challenge = options = None
        if factors.devices:
            try:
                asked = self._household.challenge(person, origin(self._household, guest.request))
                challenge, options = asked.state, json.dumps(asked.options)
            except Declined as declined:
                trouble = trouble or str(declined)  # a code works all the same
        key = self._steps.keep(Step(person, to, challenge=challenge), self._monotonic(), network(guest.source))
        values = {"step": key, "factors": factors, "options": options, "trouble": trouble, "wait": wait}
        return patiently(guest.page("factor.html", status=status, **values), wait)

    def _set_up(self, guest: Guest, step: Step, *, status: int = 200, trouble: str = "") -> Response:
        key = self._steps.keep(step, self._monotonic(), network(guest.source))
        picture = qr.code(step.link)
        return guest.page("app.html", status=status, step=key, secret=step.secret, picture=picture, trouble=trouble)

    def _again(self, guest: Guest, trouble: str, status: int, wait: int = 0) -> Response:
        shown = self._form(
            guest, customer=guest.one("customer"), next=guest.one("next"), status=status, trouble=trouble, wait=wait
        )
        return patiently(shown, wait)

    def _form(
        self, guest: Guest, *, customer: str, next: str, status: int = 200, trouble: str = "", wait: int = 0
    ) -> Response:
        several = len(self._household.customers) > 1
        known = customer if several else self._customer(guest)
        providers = self._household.providers
        return guest.page(
            "sign_in.html",
            status=status,
            several=several,
            customer=customer,
            next=onward(next),
            lost=guest.request.method == "GET" and guest.asked("lost") == "1",
            trouble=trouble,
            wait=wait,
            providers=providers.names(known) if providers else (),
            known=known,
        )

    def _customer(self, guest: Guest) -> str:
        """Return the customer that was typed, or the only one there is."""
        names = list(self._household.customers)
        return names[0] if len(names) == 1 else guest.one("customer").strip().lower()


def _key(customer: str, name: str) -> str:
    """Return what tries of a name are counted under; nothing typed is kept."""
    return hashlib.sha256(f"{customer}\0{canonical(name)}".encode("utf-8", "replace")).hexdigest()


def patiently(answer: Response, wait: int) -> Response:
    """Say after how many seconds to come back, if one has to wait."""
    if wait:
        answer.headers["Retry-After"] = str(wait)
    return answer
