"""Who sends a request: a bearer token, looked up with every customer so that the work never tells whose it is."""

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
"""Takes what went wrong; writes class and place, never text."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    customer: Customer
    """Whose token it is."""
    token: str
    """Id of the token, not the token."""
    name: str
    """What the audit log calls its holder."""
    roles: tuple[str, ...]
    """What it may do."""
    source: str
    """Address of the client."""
    who: Actor | None = None
    """Who it is where that is more than the token: an account, somebody from a provider, the owner of the token."""

    @property
    def actor(self) -> Actor:
        """Return who asks, as the audit log has it."""
        return self.who or Actor(Kind.TOKEN, self.token, self.name)

    def role(self, allowed: Iterable[Role]) -> str | None:
        """Return the role that allows it, None if none does."""
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
    """Return whose token this is; every customer is asked, also after it was found."""
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
