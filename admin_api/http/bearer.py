"""Senders of requests by bearer token. Every customer is searched, so that timing does not reveal the owner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from admin_api.http.permissions import Role
from storage.access.actor import Actor, Kind
from storage.access.api_tokens import MAX_TOKEN
from storage.customer.customers import Customer
from storage.errors import StorageError

Report = Callable[[BaseException], None]
"""Receives an exception; logs its class and place, never its text."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated sender of a request."""

    customer: Customer
    """The customer that the token belongs to."""
    token: str
    """Id of the token, not the token."""
    name: str
    """Its holder's name in the audit log."""
    roles: tuple[str, ...]
    """Roles of the token."""
    source: str
    """Address of the client."""
    who: Actor | None = None
    """The person, if known beyond the token: an account, somebody from a provider, the token's owner."""

    @property
    def actor(self) -> Actor:
        """Return the sender in the form of the audit log."""
        return self.who or Actor(Kind.TOKEN, self.token, self.name)

    def role(self, allowed: Iterable[Role]) -> str | None:
        """Return the first role that allows the action, None if none does."""
        return next((role.value for role in allowed if role.value in self.roles), None)


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the token of a request (RFC 6750 section 2.1), None unless there is exactly one."""
    found = [value for name, value in headers if name == b"authorization"]
    if len(found) != 1:
        return None
    scheme, _, token = found[0].decode("latin-1").strip().partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= MAX_TOKEN else None


def find(customers: Mapping[str, Customer], token: str, source: str, now: datetime, report: Report) -> Principal | None:
    """Return the token's sender, or None. Every customer is searched, even after the token was found."""
    found: Principal | None = None
    for customer in customers.values():
        try:
            known = customer.credentials.check(token, now)
        except StorageError as error:  # a damaged file of one customer locks out that customer alone
            report(error)
            continue
        if known is not None:
            found = Principal(customer, known.id, known.name, known.roles, source, known.actor)
    return found
