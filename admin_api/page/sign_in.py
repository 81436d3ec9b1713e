"""Signing in with an account: name and password, then the second factor that is on file, or setting one up.

Between the pages only a random key in the form says who it is; what it stands for is kept here for ten minutes. Wrong
name, wrong password, disabled, no password yet: one sentence, after the same time.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response

from admin_api.crowd import neighbourhood
from admin_api.household import Busy, Declined, Person
from admin_api.page import qr
from admin_api.page.entering import APP, Entering, onward, origin, telling
from admin_api.page.guest import Guest
from admin_api.page.patience import PER_ACCOUNT, PER_ADDRESS, PER_CODE, Patience
from admin_api.page.pending import Pending
from storage.account import canonical

WRONG = "Name or password is not right."
WRONG_CODE = "This code is not right."
WRONG_PASSKEY = "This passkey is not right."
AGAIN = "That took too long. Begin again."
BUSY = "Too many people are signing in. Try again in a moment."
BUSY_SECONDS = 2
MAX_USUAL = 10_000  # pairs of a name and an address; a person has a few


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
        self._accounts = Patience(PER_ACCOUNT)
        self._addresses = Patience(PER_ADDRESS)
        self._codes = Patience(PER_CODE)
        self._usual: OrderedDict[tuple[str, str], None] = OrderedDict()  # names and where they signed in from

    async def form(self, guest: Guest) -> Response:
        """Show the form; whoever is in goes on."""
        if guest.session is not None:
            return RedirectResponse(onward(guest.asked("next")), 303)
        return self._form(guest, customer=guest.asked("customer"), next=guest.asked("next"))

    async def password(self, guest: Guest) -> Response:
        """Check name and password."""
        customer = self._customer(guest)
        name, place = guest.one("name"), neighbourhood(guest.source)
        key = _key(customer, name)
        if (key, place) in self._usual:
            key = f"{key} {place}"
        now = self._monotonic()
        wait = self._addresses.take(place, now) or self._accounts.take(key, now)
        if wait:
            return self._again(guest, "", 429, wait)
        try:
            person = await self._household.enter(customer, name, guest.one("password"))
        except Busy:
            self._addresses.forgive(place)
            self._accounts.forgive(key)
            return self._again(guest, BUSY, 503, BUSY_SECONDS)
        if person is None:
            await self._entering.refused(guest, customer, self._household.known(customer, name), "password")
            return self._again(guest, WRONG, 403)
        self._addresses.forgive(place)
        self._accounts.passed(key)
        return await self.beyond(guest, person, onward(guest.one("next")))

    def _remember(self, key: str, place: str) -> None:
        """Let nobody elsewhere make somebody wait where they have signed in before."""
        self._usual[key, place] = None
        self._usual.move_to_end((key, place))
        while len(self._usual) > MAX_USUAL:
            self._usual.popitem(last=False)

    async def beyond(self, guest: Guest, person: Person, to: str) -> Response:
        """Go on with somebody whose password is right: ask for the second factor, have one set up, or let them in."""
        self._remember(_key(person.customer.name, person.name), neighbourhood(guest.source))
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
        wait = self._codes.take(person.account, self._monotonic())
        if wait:
            return self._ask(guest, person, step.onward, status=429, wait=wait)
        if answer:
            right = await self._household.prove(person, origin(self._household, guest.request), step.challenge, answer)
        else:
            right = await self._household.code(person, guest.one("code"))
        how = "passkey" if answer else "code"
        if not right:
            await self._entering.refused(guest, person.customer.name, person, how)
            wrong = WRONG_PASSKEY if answer else WRONG_CODE
            return self._ask(guest, person, step.onward, status=403, trouble=wrong)
        self._codes.passed(person.account)
        return await self._entering.let_in(guest, person, f"password and {how}", RedirectResponse(step.onward, 303))

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
            asked = self._household.challenge(person, origin(self._household, guest.request))
            challenge, options = asked.state, json.dumps(asked.options)
        key = self._steps.keep(Step(person, to, challenge=challenge), self._monotonic())
        values = {"step": key, "factors": factors, "options": options, "trouble": trouble, "wait": wait}
        return patiently(guest.page("factor.html", status=status, **values), wait)

    def _set_up(self, guest: Guest, step: Step, *, status: int = 200, trouble: str = "") -> Response:
        key = self._steps.keep(step, self._monotonic())
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
