"""Accounts for the page, their passwords and second factors, as the daemon keeps them.

Every request reads the current accounts, so a command's changes apply to the next request. Writes run in a thread
because they wait for the disk.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from admin_api.access.accounts_port import (
    App,
    Challenge,
    Declined,
    Device,
    Factors,
    Person,
    Providers,
    WriteAudit,
    no_audit,
)
from recorder.access import passwords, totp, webauthn
from recorder.access.passwords import Passwords
from storage.access.account import Account
from storage.access.accounts import AccountsError, Change
from storage.customer.customers import Customer
from storage.errors import NoSpace

ISSUER = "Recorder"
WRONG_PASSWORD = "wrong-password"
WRONG_CODE = "wrong-app-code"
LAST_FACTOR = "last-factor"
NO_FACTOR = "no-factor"
GONE = "account-changed"


class AccountService:
    """The accounts of all customers (admin_api.access.accounts_port.AccountService)."""

    def __init__(
        self,
        customers: Mapping[str, Customer],
        *,
        required: bool = True,
        address: str = "",
        providers: Providers | None = None,
        checks: Passwords | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Callable[[int], bytes] = os.urandom,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.customers = customers
        self.second_factor_required = required
        self.address = address
        self.providers = providers
        self._checks = checks or Passwords()
        self._now = now
        self._random = random
        self._pause = pause
        self._steps: dict[str, int] = {}  # by account, the newest time step whose code this process accepted

    def close(self) -> None:
        """Stop the password thread."""
        self._checks.close()

    # ---- signing in ----

    async def fresh(self, customer: str) -> None:
        """Load what other nodes have changed, if there are other nodes."""
        found = self.customers.get(customer)
        if found is not None and found.shared is not None:
            await found.shared.refresh()

    def stands(self, person: Person) -> bool:
        """Return whether a session of this person may continue; a person from a provider has no account to check."""
        account = person.customer.accounts.get(person.account) if person.account else None
        return not person.account or (account is not None and not account.disabled and account.stamp == person.stamp)

    def known(self, customer: str, name: str) -> Person | None:
        """Find an account by the name that somebody typed, even a disabled one."""
        found = self.customers.get(customer)
        account = found and found.accounts.named(name)
        return _person(found, account) if found and account else None

    async def enter(self, customer: str, name: str, password: str, elsewhere: str = "") -> Person | None:
        """Check a password; None if anything is wrong, after the same time. Raises Busy.

        `elsewhere`: the network of the request, if the account has not signed in from there.
        """
        found = self.customers.get(customer)
        account = found.accounts.named(name) if found else None
        usable = account is not None and not account.disabled
        genuine = await self._checks.genuine(account.password if account and usable else None, password, elsewhere)
        return _person(found, account) if genuine and found and account else None

    async def entered(
        self, person: Person, write_audit: WriteAudit = no_audit, place: str = "", address: str = ""
    ) -> None:
        """Record a sign-in, from which network and address; it invalidates the account's one-time link."""

        def enter(account: Account) -> Account:
            now = self._now()
            seen = account.seen_at(place, address, now) if place else account
            return replace(seen, signed_in_at=now, invitation=None)

        with suppress(NoSpace):  # whoever wants to erase something on a full disk must be able to sign in
            await self._change(person, enter, write_audit)

    def usual(self, person: Person | None, place: str) -> bool:
        """Return whether somebody signed in from this network, or address, within the last months."""
        account = person.customer.accounts.get(person.account) if person else None
        return account is not None and account.usual(place, self._now())

    async def pause(self, seconds: float) -> None:
        """Delay an attempt until its turn."""
        await self._pause(seconds)

    async def code(self, person: Person, code: str) -> bool:
        """Check a code of the app or a recovery code, and use it up: it is valid only once.

        On a full disk, a used code of the app is remembered in memory. A recovery code could not be used up, so it
        raises NoSpace.
        """
        step: int | None = None
        taken = False

        def take(account: Account) -> Account:
            nonlocal step, taken
            last = max(account.totp_step, self._steps.get(account.id, 0))
            step = totp.step_of(account.totp, code, self._seconds(), last) if account.totp else None
            left = totp.without(account.recovery, code)
            taken = step is not None or left is not None
            if step is not None:
                self._steps[account.id] = step  # under the lock of the file: of two simultaneous attempts one is right
                return replace(account, totp_step=step)
            return account if left is None else replace(account, recovery=left)

        try:
            await self._change(person, take)
        except NoSpace:
            if step is None:
                raise
        return taken

    def challenge(self, person: Person, origin: str) -> Challenge:
        """Request one of the passkeys of an account."""
        return webauthn.ask(self._account(person), origin)

    async def prove(self, person: Person, origin: str, state: Any, answer: str) -> bool:
        """Check an authenticator's response, and store its counter."""
        proven = False

        def judge(account: Account) -> Account:
            nonlocal proven
            used = webauthn.used(account, origin, state, answer)
            proven = used is not None
            kept = (used if used is not None and key.id == used.id else key for key in account.passkeys)
            return replace(account, passkeys=tuple(kept))

        with suppress(NoSpace):  # the challenge was good for one answer; only a copied authenticator shows later
            await self._change(person, judge)
        return proven

    # ---- one-time links ----

    def invited(self, customer: str, secret: str) -> Person | None:
        """Find the account of a one-time link."""
        found = self.customers.get(customer)
        account = found.accounts.invited(secret, self._now()) if found else None
        return _person(found, account) if found and account else None

    async def accept(
        self, customer: str, secret: str, password: str, write_audit: WriteAudit = no_audit
    ) -> Person | None:
        """Set a password by a one-time link, which is used up; None if it was used before. Raises Declined, Busy."""
        person = self.invited(customer, secret)
        if person is None:
            return None
        kept = await self._hashed(person, password)
        accounts = person.customer.accounts

        def use(account: Account) -> Account:
            if not accounts.admits(account, secret, self._now()):  # used, or replaced, while the password was hashed
                raise Declined(GONE)
            return account.ended(password=kept, invitation=None)

        return await self._change(person, use, write_audit)

    # ---- one's own account ----

    async def confirm(self, person: Person, password: str) -> bool:
        """Check the password of somebody who is signed in. Raises Busy."""
        return await self._checks.genuine(self._account(person).password, password)

    async def change_password(self, person: Person, old: str, new: str, write_audit: WriteAudit = no_audit) -> Person:
        """Set another password; sessions that are open elsewhere end. Raises Declined, Busy."""
        if not await self.confirm(person, old):
            raise Declined(WRONG_PASSWORD)
        kept = await self._hashed(person, new)
        return await self._change(person, lambda account: account.ended(password=kept), write_audit)

    def factors(self, person: Person) -> Factors:
        """Return which factors an account has beside its password."""
        account = self._account(person)
        devices = tuple(Device(key.id, key.label, key.created_at) for key in account.passkeys)
        return Factors(account.totp is not None, len(account.recovery), devices)

    def new_app(self, person: Person) -> App:
        """Make a secret for an authenticator app."""
        secret = totp.new_secret(self._random)
        return App(secret, totp.link(secret, ISSUER, f"{person.name} ({person.customer.name})"))

    async def add_app(
        self, person: Person, secret: str, code: str, write_audit: WriteAudit = no_audit, *, first: bool = False
    ) -> Sequence[str]:
        """Register an app that shows the right code; returns recovery codes, the first time. Raises Declined.

        `first`: only if there is no second factor yet; a password alone must not replace one.
        """
        step = totp.step_of(secret, code, self._seconds(), 0)
        if step is None:
            raise Declined(WRONG_CODE)

        def add(account: Account) -> Account:
            if first and account.second_factor:
                raise Declined(GONE)
            return replace(account, totp=secret, totp_step=step)

        return await self._add(person, add, write_audit)

    def new_device(self, person: Person, origin: str) -> Challenge:
        """Ask a browser for a new passkey."""
        return webauthn.ask_new(self._account(person), origin)

    async def add_device(
        self, person: Person, origin: str, state: Any, answer: str, label: str, write_audit: WriteAudit = no_audit
    ) -> Sequence[str]:
        """Register a passkey; returns recovery codes, the first time. Raises Declined."""

        def add(account: Account) -> Account:
            key = webauthn.new(account, origin, state, answer, label, self._now())
            return replace(account, passkeys=(*account.passkeys, key))

        return await self._add(person, add, write_audit)

    async def renew_codes(self, person: Person, write_audit: WriteAudit = no_audit) -> Sequence[str]:
        """Make new recovery codes, which invalidate the old ones. Raises Declined."""
        codes = totp.new_recovery_codes(self._random)
        kept = tuple(totp.recovery_digest(code) for code in codes)

        def renew(account: Account) -> Account:
            if not account.second_factor:
                raise Declined(NO_FACTOR)
            return replace(account, recovery=kept)

        await self._change(person, renew, write_audit)
        return codes

    async def drop(self, person: Person, device: str = "", write_audit: WriteAudit = no_audit) -> Person:
        """Remove a passkey or the app; the last factor stays if one is required. Raises Declined."""

        def drop(account: Account) -> Account:
            if device:
                left = account.ended(passkeys=tuple(key for key in account.passkeys if key.id != device))
            else:
                left = account.ended(totp=None, totp_step=0)
            if left.second_factor:
                return left
            if self.second_factor_required:
                raise Declined(LAST_FACTOR)
            return replace(left, recovery=())

        return await self._change(person, drop, write_audit)

    # ---- internals ----

    async def _add(self, person: Person, change: Change, write_audit: WriteAudit) -> Sequence[str]:
        """Add a factor, and recovery codes if there are none."""
        codes = totp.new_recovery_codes(self._random)
        given: list[str] = []

        def add(account: Account) -> Account:
            changed = change(account)
            if changed.recovery:
                return changed
            given.extend(codes)
            return replace(changed, recovery=tuple(totp.recovery_digest(code) for code in codes))

        await self._change(person, add, write_audit)
        return given

    async def _hashed(self, person: Person, password: str) -> str:
        fault = passwords.fault(password, person.name)
        if fault:
            raise Declined(fault)
        return await self._checks.hash(password)

    async def _change(self, person: Person, change: Change, write_audit: WriteAudit = no_audit) -> Person:
        def changed(account: Account) -> Account:
            if account.disabled or account.stamp != person.stamp:
                raise Declined(GONE)
            made = change(account)
            write_audit()  # the change can no longer be declined, and nothing is written yet
            return made

        try:
            account = await person.customer.accounts.changing(person.account, changed)
        except AccountsError:
            raise Declined(GONE) from None
        return _person(person.customer, account)

    def _account(self, person: Person) -> Account:
        account = person.customer.accounts.get(person.account)
        if account is None:
            raise Declined(GONE)
        return account

    def _seconds(self) -> float:
        return self._now().timestamp()


def _person(customer: Customer, account: Account) -> Person:
    return Person(customer, account.name, account.roles, account.id, account.stamp)
