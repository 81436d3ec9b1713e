"""A service whose customers have accounts, with clocks that only move when a test sets them."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx2
import pytest

from admin_api.page.framework.sessions import COOKIE
from recorder.access import totp
from recorder.access.accounts import AccountService
from recorder.access.passwords import Passwords
from storage.audit.hash_chain import AuditError
from storage.customer.customers import Customer
from tests.in_process.api_service import Service

PASSWORD = "a fine long passphrase"
NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


class SignInService(Service):
    """A service in which everything is real except the clocks and the cost of a password."""

    def __init__(self, folder: Path, *, required: bool = False, providers: Any = None) -> None:
        self.required, self._providers = required, providers
        self.delays: list[float] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._begun = time.monotonic()
        super().__init__(folder)
        self.seen: list[httpx2.Client] = []

    def monotonic(self) -> float:
        return self._begun + self.later

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.later)

    def account_service(self) -> AccountService:
        providers = self._providers(self.customers) if self._providers else None
        self.family = AccountService(
            self.customers,
            required=self.required,
            checks=Passwords(passes=1, memory=64),
            providers=providers,
            now=self.now,
            pause=self.pause,
        )
        return self.family

    async def pause(self, seconds: float) -> None:
        """Advance the clock by the wait of an attempt, once attempts may continue."""
        self.delays.append(seconds)
        while not self.goes_on.is_set():
            await asyncio.sleep(0.001)
        self.later += seconds

    def empty(self) -> None:
        """Remove all accounts, and advance the clock so far that earlier attempts no longer count."""
        self.later += 100_000
        self.delays.clear()
        self.faults.clear()
        self.family.second_factor_required = self.required
        for customer in self.customers.values():
            (customer.folder / "accounts.json").unlink(missing_ok=True)
        for browser in self.seen:
            browser.close()
        self.seen.clear()

    def invite(self, name: str = "anna", *roles: str, customer: str = "acme") -> str:
        """Make an account; return the secret of its one-time link."""
        return self.customers[customer].accounts.create(name, roles or ("admin",), self.now()).secret

    def settle(self, name: str = "anna", *roles: str, customer: str = "acme", password: str = PASSWORD) -> str:
        """Make an account that has a password; return its id."""
        secret = self.invite(name, *roles, customer=customer)
        return self.run(self.family.accept(customer, secret, password)).account

    def app(self, id: str, customer: str = "acme") -> tuple[str, list[str]]:
        """Add an authenticator app to an account; return its secret and the recovery codes."""
        account = self.customers[customer].accounts.get(id)
        secret = totp.new_secret(lambda n: bytes(n))
        person = self.family.known(customer, account.name)
        assert person
        codes = self.run(self.family.add_app(person, secret, self.code(secret)))
        self.later += 60
        return secret, list(codes)

    def code(self, secret: str, steps: int = 0) -> str:
        """Return the code that an app shows now."""
        return totp.code_at(secret, int(self.now().timestamp()) // totp.STEP + steps)

    def browser(self, source: str = "127.0.0.1") -> httpx2.Client:
        """Open a browser without scripts at an address of 127.0.0.0/8; it does not follow redirects."""
        transport = httpx2.HTTPTransport(verify=self.client_context, local_address=source)
        self.seen.append(httpx2.Client(base_url=self.base, transport=transport, timeout=60))
        return self.seen[-1]

    def copied(self, browser: httpx2.Client) -> httpx2.Client:
        """Open a browser with the cookies of another one."""
        made = self.browser()
        made.cookies.update(browser.cookies)
        return made

    def restart(self) -> None:
        """Restart at another port from what is on disk, as a new process would."""
        self.family.close()
        self.run(self.server.stop())
        self.port = self.run(self._start())
        self.base = f"https://127.0.0.1:{self.port}"

    def sign_in(
        self, browser: httpx2.Client, name: str = "anna", password: str = PASSWORD, customer: str = "acme", **more: str
    ) -> httpx2.Response:
        """Send the sign-in form."""
        form = {"customer": customer, "name": name, "password": password, **more}
        return browser.post("/sign-in", data=form, headers={"Sec-Fetch-Site": "same-origin"})

    def attempt(self, source: str = "127.0.0.1", password: str = "wrong", name: str = "anna") -> int:
        """Try to sign in with a new browser; return the status."""
        return self.sign_in(self.browser(source), name, password).status_code

    def entered(self, name: str = "anna", source: str = "127.0.0.1") -> httpx2.Client:
        """Open a browser in which somebody has signed in with only a password."""
        browser = self.browser(source)
        assert self.sign_in(browser, name).status_code == 303
        return browser

    def told(self, customer: str = "acme") -> list[tuple[str, str, str, str]]:
        """Return the audit entries about signing in: actor, action, outcome, reason."""
        found = [(a["actor"], a["action"], a["outcome"], a["reason"]) for a in self.acts(customer)]
        return [each for each in found if each[1].startswith(("session", "account"))]

    def close(self) -> None:
        for browser in self.seen:
            browser.close()
        self.family.close()
        super().close()


def field(page: httpx2.Response, name: str) -> str:
    """Return the value of a hidden field in a page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, page.text
    return unescape(found.group(1))


def app_secret(page: httpx2.Response) -> str:
    """Return the secret for an authenticator app in a page."""
    found = re.search(r'class="mono">([A-Z2-7]{32})<', page.text)
    assert found, page.text
    return found.group(1)


def send_code(browser: httpx2.Client, shown: httpx2.Response, code: str, to: str = "factor") -> httpx2.Response:
    """Send a code to the second step of a sign-in, which a page shows."""
    return browser.post(f"/sign-in/{to}", data={"step": field(shown, "step"), "code": code})


def inside(browser: httpx2.Client) -> bool:
    """Return whether a browser is signed in."""
    return browser.get("/account").status_code == 200


@contextmanager
def unwritable_audit(customer: Customer) -> Iterator[None]:
    """Make writes to a customer's audit log fail, as on a full disk."""
    with pytest.MonkeyPatch.context() as full:
        full.setattr(customer.audit, "append", Mock(side_effect=AuditError("the disk is full")))
        yield


__all__ = [
    "COOKIE",
    "NOW",
    "PASSWORD",
    "SignInService",
    "app_secret",
    "field",
    "inside",
    "send_code",
    "unwritable_audit",
]
