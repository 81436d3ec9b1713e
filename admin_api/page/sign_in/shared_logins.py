"""Sign-ins under way and counted attempts, where several nodes share a database.

Each is a row of the customer's database (storage.access.shared_rows). A step or a passkey's challenge is taken once,
whichever node gave it out; wrong passwords and codes are counted as if all had come to one node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from admin_api.page.framework.shared_sessions import SEPARATOR, rows_of
from admin_api.page.sign_in.login_backoff import Attempts, Failures, Try, forgiven, seconds
from admin_api.page.sign_in.pending_logins import SECONDS, Pending
from storage.access.shared_rows import SharedRows, Written
from storage.customer.customers import Customer


class Thing(Protocol):
    """A value that another node can read."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""


Kept = TypeVar("Kept", bound=Thing)


class SharedPending(Generic[Kept]):
    """Values under random keys, which name the customer (PendingStore).

    Each node limits the number of values that it gave out, as a single node does.
    """

    def __init__(
        self,
        customers: Mapping[str, Customer],
        random: Callable[[int], bytes],
        monotonic: Callable[[], float],
        parse: Callable[[Customer, Mapping[str, Any]], Kept],
    ) -> None:
        self._customers = customers
        self._parse = parse
        self._surplus: list[str] = []
        self._own: Pending[str] = Pending(random, monotonic, self._surplus.append)

    async def keep(self, thing: Kept, place: str, customer: str = "") -> str:
        """Store a value of a customer; return its key."""
        rows = rows_of(self._customers[customer])
        key = f"{customer}{SEPARATOR}{rows.secret()}"
        await self._own.keep(key, place)
        put = partial(_put, f"step {key}", thing.document())
        await rows.change((f"step {key}",), put)
        while self._surplus:
            await self.take(self._surplus.pop())
        return key

    async def take(self, key: str) -> Kept | None:
        """Return and delete a value; None if it is unknown, used or too old."""
        name, _, secret = key.partition(SEPARATOR)
        customer = self._customers.get(name)
        if customer is None or not rows_of(customer).genuine(secret):
            return None
        found = await rows_of(customer).take(f"step {key}")
        return self._parse(customer, found) if found else None


class SharedAttempts:
    """Attempts that all nodes count together (AttemptStore)."""

    def __init__(self, customers: Mapping[str, Customer]) -> None:
        self._customers = customers
        self._alone = Attempts()

    async def count(self, customer: str, tries: Sequence[Try], now: float, admit: Callable[[float], bool]) -> float:
        """Count an attempt in each way if `admit` accepts its wait; return the wait."""

        def count(values: Mapping[str, Any], at: float) -> Written[float]:
            wait = max(seconds(_known(values, each), at) for each in tries)
            if not admit(wait):
                return Written(wait)
            counted = {each: each[0].counted(_known(values, each), at) for each in tries}
            return Written(wait, {_name(each): (known, each[0].forgotten(known)) for each, known in counted.items()})

        rows = self._rows(customer)
        if rows is None:
            return await self._alone.count(customer, tries, now, admit)
        return await rows.change([_name(each) for each in tries], count)

    async def passed(self, customer: str, tries: Sequence[Try]) -> None:
        """Forget all failures."""
        rows = self._rows(customer)
        if rows is not None:
            await rows.drop(*(rows.key(_name(each)) for each in tries))

    async def forgive(self, customer: str, tries: Sequence[Try]) -> None:
        """Uncount the last attempt."""

        def forgive(values: Mapping[str, Any], at: float) -> Written[None]:
            left = {each: forgiven(_known(values, each)) for each in tries}
            put = {_name(each): (known, each[0].forgotten(known)) for each, known in left.items() if known}
            return Written(None, put, [_name(each) for each, known in left.items() if known is None])

        rows = self._rows(customer)
        if rows is not None and tries:
            await rows.change([_name(each) for each in tries], forgive)

    def _rows(self, customer: str) -> SharedRows | None:
        """Return the rows that count attempts for a customer; for an unknown one, rows that take as long to read."""
        found = self._customers.get(customer) or next(iter(self._customers.values()), None)
        return None if found is None else rows_of(found)


def _put(name: str, value: Any, values: Mapping[str, Any], at: float) -> Written[None]:
    return Written(None, {name: (value, at + SECONDS)})


def _name(each: Try) -> str:
    return f"tries {each[0].name} {each[1]}"


def _known(values: Mapping[str, Any], each: Try) -> Failures | None:
    found = values.get(_name(each))
    return Failures(*found) if found else None
