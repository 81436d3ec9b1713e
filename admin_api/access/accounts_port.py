"""Protocols that the daemon implements for signing in: accounts, and OpenID providers for people without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from admin_api.errors import AdminApiError
from storage.access.actor import Actor, Kind
from storage.customer.customers import Customer


class Busy(AdminApiError):
    """Too many passwords are waiting to be checked."""


class Declined(AdminApiError):
    """An account change was refused; the argument is a code of the page's group `trouble`."""


class ProviderAway(AdminApiError):
    """The provider does not respond correctly."""


class NotVouched(AdminApiError):
    """The provider's answer is not for us, not authentic, or gives no role; `args` is a word for the audit log."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person known by an account or a provider."""

    customer: Customer = field(repr=False)
    """The person's customer."""
    name: str = field(repr=False)
    """The name in the audit log."""
    roles: tuple[str, ...]
    """The person's roles."""
    account: str = ""
    """Id of the account, "" if the person came through a provider."""
    stamp: int = 0
    """The account's stamp when it was read."""
    lasts: float = math.inf
    """Seconds after which a provider has to confirm the person again."""
    subject: str = field(default="", repr=False)
    """The person's identity at the provider: issuer and `sub`."""

    @property
    def actor(self) -> Actor:
        """Return the actor for the audit log."""
        if self.account:
            return Actor(Kind.ACCOUNT, self.account, self.name)
        return Actor(Kind.OPENID, self.subject, self.name)

    def document(self) -> dict[str, Any]:
        """Return the fields as JSON values, except `customer` and `lasts`."""
        roles = list(self.roles)
        return {
            "name": self.name,
            "roles": roles,
            "account": self.account,
            "stamp": self.stamp,
            "subject": self.subject,
        }

    @classmethod
    def parse(cls, customer: Customer, found: Mapping[str, Any]) -> Person:
        """Parse the result of `document`."""
        return cls(
            customer, found["name"], tuple(found["roles"]), found["account"], found["stamp"], subject=found["subject"]
        )


@dataclass(frozen=True, slots=True)
class Device:
    """A passkey as its owner sees it."""

    id: str = field(repr=False)
    """Its id."""
    label: str = field(repr=False)
    """The owner's name for it."""
    created_at: datetime
    """Time at which it was added."""


@dataclass(frozen=True, slots=True)
class Factors:
    """The second factors of an account."""

    app: bool = False
    """Whether there is an authenticator app."""
    recovery: int = 0
    """Number of recovery codes left."""
    devices: tuple[Device, ...] = ()
    """Passkeys."""

    @property
    def any(self) -> bool:
        """Return whether the account has a second factor."""
        return self.app or bool(self.devices)


@dataclass(frozen=True, slots=True)
class App:
    """A secret for an authenticator app that is not set up yet."""

    secret: str = field(repr=False)
    """The secret in a form to type in."""
    link: str = field(repr=False)
    """The secret in the form for the QR code."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A request to an authenticator, and the state to verify its answer."""

    options: Mapping[str, Any] = field(repr=False)
    """For navigator.credentials (WebAuthn), JSON."""
    state: Any = field(repr=False)
    """State to pass back with the answer, JSON values."""


@dataclass(frozen=True, slots=True)
class ProviderLogin:
    """A sign-in through a provider that has begun."""

    link: str = field(repr=False)
    """The URL to send the browser to."""
    state: Any = field(repr=False)
    """State to pass back on return, JSON values; contains `state`, the parameter of that name."""


class Providers(Protocol):
    """OpenID providers through which people sign in."""

    def names(self, customer: str) -> Sequence[str]:
        """Return the display names of a customer's providers; the index in the list is the provider's number."""

    async def begin(self, customer: str, number: int, back: str) -> ProviderLogin:
        """Begin a sign-in at a provider, which returns the browser to `back`; raises ProviderAway."""

    async def finish(self, provider_login: ProviderLogin, answer: Mapping[str, str]) -> Person:
        """Verify the parameters that the browser returned with; raises ProviderAway, NotVouched."""


WriteAudit = Callable[[], None]
"""Writes a change to the audit log just before it is made; if it raises, nothing is changed."""


def no_audit() -> None:
    """Write no entry: the caller has written it."""


class AccountService(Protocol):
    """The accounts of the page."""

    @property
    def customers(self) -> Mapping[str, Customer]:
        """Return all customers by name."""

    @property
    def second_factor_required(self) -> bool:
        """Return whether an account must have a second factor."""

    @property
    def providers(self) -> Providers | None:
        """Return the providers for people without an account."""

    @property
    def address(self) -> str:
        """Return the configured address of the page, "" if there is none."""

    async def fresh(self, customer: str) -> None:
        """Read what other nodes have changed in the accounts of a customer; raises StorageError."""

    def stands(self, person: Person) -> bool:
        """Return whether a session of this person may continue."""

    def known(self, customer: str, name: str) -> Person | None:
        """Find an account by the typed name, even if it is disabled."""

    async def enter(self, customer: str, name: str, password: str, elsewhere: str = "") -> Person | None:
        """Check a password; None if anything is wrong, always after the same time. Raises Busy.

        `elsewhere`: the client's network, if the account has not signed in from it before.
        """

    async def entered(
        self, person: Person, write_audit: WriteAudit = no_audit, place: str = "", address: str = ""
    ) -> None:
        """Record a sign-in with its network and address."""

    def usual(self, person: Person | None, place: str) -> bool:
        """Return whether the account signed in from this network or address before."""

    async def pause(self, seconds: float) -> None:
        """Delay an attempt until its turn."""

    def factors(self, person: Person) -> Factors:
        """Return the second factors of an account."""

    async def code(self, person: Person, code: str) -> bool:
        """Check a code of the app or a recovery code, and use it up: each works only once."""

    def challenge(self, person: Person, origin: str) -> Challenge:
        """Create a challenge for the passkeys of an account."""

    async def prove(self, person: Person, origin: str, state: Any, answer: str) -> bool:
        """Verify an authenticator's answer."""

    def invited(self, customer: str, secret: str) -> Person | None:
        """Find the account of a one-time link."""

    async def accept(
        self, customer: str, secret: str, password: str, write_audit: WriteAudit = no_audit
    ) -> Person | None:
        """Set a password by a one-time link and use it up; None if it was used already. Raises Declined, Busy."""

    async def change_password(self, person: Person, old: str, new: str, write_audit: WriteAudit = no_audit) -> Person:
        """Change the password; raises Declined, Busy."""

    async def confirm(self, person: Person, password: str) -> bool:
        """Check the password of a signed-in person. Raises Busy."""

    def new_app(self, person: Person) -> App:
        """Create a secret for an authenticator app."""

    async def add_app(
        self, person: Person, secret: str, code: str, write_audit: WriteAudit = no_audit, *, first: bool = False
    ) -> Sequence[str]:
        """Set up an app that shows the right code; the first time, returns recovery codes. Raises Declined.

        `first`: only if there is no second factor yet; a password alone must not replace one.
        """

    def new_device(self, person: Person, origin: str) -> Challenge:
        """Create a challenge for a new passkey."""

    async def add_device(
        self, person: Person, origin: str, state: Any, answer: str, label: str, write_audit: WriteAudit = no_audit
    ) -> Sequence[str]:
        """Add a passkey; the first time, returns recovery codes. Raises Declined."""

    async def renew_codes(self, person: Person, write_audit: WriteAudit = no_audit) -> Sequence[str]:
        """Create new recovery codes; the old ones become void. Raises Declined."""

    async def drop(self, person: Person, device: str = "", write_audit: WriteAudit = no_audit) -> Person:
        """Remove a passkey or the app; the last factor stays if one is required. Raises Declined."""
