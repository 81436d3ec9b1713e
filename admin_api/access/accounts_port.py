"""What signing in needs from the daemon: accounts, and the sign-in services that vouch for people without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from storage.access.actor import Actor, Kind
from storage.customer.customers import Customer


class Busy(Exception):
    """Too many passwords wait already."""


class Declined(Exception):
    """Something about an account was refused; the text is a sentence for the person in front of the page."""


class ProviderAway(Exception):
    """The provider does not answer as it should."""


class NotVouched(Exception):
    """The provider's answer is not for us, not genuine, or gives no role; `args` is a word for the audit log."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom an account or a provider stands for."""

    customer: Customer = field(repr=False)
    """Whose."""
    name: str = field(repr=False)
    """What the audit log says."""
    roles: tuple[str, ...]
    """What they may do."""
    account: str = ""
    """Id of the account, "" where a provider vouches."""
    stamp: int = 0
    """The account's when it was asked."""
    lasts: float = math.inf
    """Seconds after which a provider has to vouch again."""
    subject: str = field(default="", repr=False)
    """Who it is for the provider that vouches: issuer and `sub`."""

    @property
    def actor(self) -> Actor:
        """Return who acts, as the audit log has it."""
        if self.account:
            return Actor(Kind.ACCOUNT, self.account, self.name)
        return Actor(Kind.OPENID, self.subject, self.name)


@dataclass(frozen=True, slots=True)
class Device:
    """A passkey as its owner sees it."""

    id: str = field(repr=False)
    """Its id."""
    label: str = field(repr=False)
    """What its owner calls it."""
    created_at: datetime
    """When it was put on file."""


@dataclass(frozen=True, slots=True)
class Factors:
    """What an account has beside its password."""

    app: bool = False
    """An authenticator app."""
    recovery: int = 0
    """Recovery codes that are left."""
    devices: tuple[Device, ...] = ()
    """Passkeys."""

    @property
    def any(self) -> bool:
        """Say whether the password alone is not enough."""
        return self.app or bool(self.devices)


@dataclass(frozen=True, slots=True)
class App:
    """A secret for an authenticator app that is not on file yet."""

    secret: str = field(repr=False)
    """As it can be typed."""
    link: str = field(repr=False)
    """As the QR code has it."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a browser asks an authenticator, and what is needed to judge the answer."""

    options: Mapping[str, Any] = field(repr=False)
    """For navigator.credentials (WebAuthn), JSON."""
    state: Any = field(repr=False)
    """To be given back with the answer."""


@dataclass(frozen=True, slots=True)
class ProviderLogin:
    """A way to a provider and back that has begun."""

    link: str = field(repr=False)
    """Where the browser goes."""
    state: Any = field(repr=False)
    """To be given back with what it returns with; has `state`, the parameter of that name."""


class Providers(Protocol):
    """OpenID providers that vouch for people."""

    def names(self, customer: str) -> Sequence[str]:
        """Return what the providers of a customer are called on the page; their place in the list is their number."""

    async def begin(self, customer: str, number: int, back: str) -> ProviderLogin:
        """Prepare the way to a provider, which sends the browser to `back`; raises ProviderAway."""

    async def finish(self, provider_login: ProviderLogin, answer: Mapping[str, str]) -> Person:
        """Judge what the browser came back with; raises ProviderAway, NotVouched."""


WriteAudit = Callable[[], None]
"""Writes a change into the audit log just before it is made; what it raises leaves everything as it was."""


def no_audit() -> None:
    """Write nothing down: whoever changes something has done so."""


class AccountService(Protocol):
    """Who may sign in to the page."""

    @property
    def customers(self) -> Mapping[str, Customer]:
        """Return all customers by name."""

    @property
    def second_factor_required(self) -> bool:
        """Say whether an account needs more than its password."""

    @property
    def providers(self) -> Providers | None:
        """Return who vouches for people without an account."""

    @property
    def address(self) -> str:
        """Return the page's address as configured, "" if it is only known from requests."""

    def stands(self, person: Person) -> bool:
        """Say whether a session of this person may go on."""

    def known(self, customer: str, name: str) -> Person | None:
        """Find an account by the name that somebody typed; one that is disabled too."""

    async def enter(self, customer: str, name: str, password: str, elsewhere: str = "") -> Person | None:
        """Check a password; None if anything is wrong, after the same time. Raises Busy.

        `elsewhere`: the network that it comes from, if the account has not signed in from there.
        """

    async def entered(
        self, person: Person, write_audit: WriteAudit = no_audit, place: str = "", address: str = ""
    ) -> None:
        """Note that somebody got in, and from which network and address."""

    def usual(self, person: Person | None, place: str) -> bool:
        """Say whether somebody got in from this network, or address, before."""

    async def pause(self, seconds: float) -> None:
        """Let a try wait for its turn."""

    def factors(self, person: Person) -> Factors:
        """Return what an account has beside its password."""

    async def code(self, person: Person, code: str) -> bool:
        """Check a code of the app or a recovery code, and take it: it is right only once."""

    def challenge(self, person: Person, origin: str) -> Challenge:
        """Ask for one of the passkeys of an account."""

    async def prove(self, person: Person, origin: str, state: Any, answer: str) -> bool:
        """Judge what an authenticator said."""

    def invited(self, customer: str, secret: str) -> Person | None:
        """Find whose one-time link this is."""

    async def accept(
        self, customer: str, secret: str, password: str, write_audit: WriteAudit = no_audit
    ) -> Person | None:
        """Set a password by a one-time link, which is used up; None if it was before. Raises Declined, Busy."""

    async def change_password(self, person: Person, old: str, new: str, write_audit: WriteAudit = no_audit) -> Person:
        """Set another password; raises Declined, Busy."""

    async def confirm(self, person: Person, password: str) -> bool:
        """Check the password of somebody who is signed in. Raises Busy."""

    def new_app(self, person: Person) -> App:
        """Make a secret for an authenticator app."""

    async def add_app(
        self, person: Person, secret: str, code: str, write_audit: WriteAudit = no_audit, *, first: bool = False
    ) -> Sequence[str]:
        """Put an app on file that shows the right code; returns recovery codes, the first time. Raises Declined.

        `first`: only if there is no second factor yet; a password alone must not replace one.
        """

    def new_device(self, person: Person, origin: str) -> Challenge:
        """Ask a browser for a new passkey."""

    async def add_device(
        self, person: Person, origin: str, state: Any, answer: str, label: str, write_audit: WriteAudit = no_audit
    ) -> Sequence[str]:
        """Put a passkey on file; returns recovery codes, the first time. Raises Declined."""

    async def renew_codes(self, person: Person, write_audit: WriteAudit = no_audit) -> Sequence[str]:
        """Make new recovery codes, the ones before are void. Raises Declined."""

    async def drop(self, person: Person, device: str = "", write_audit: WriteAudit = no_audit) -> Person:
        """Take a passkey off the file, or the app; the last factor is kept where one is required. Raises Declined."""
