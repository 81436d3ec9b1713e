"""Open the customers' databases in the background: an unavailable database never stops recording.

Components that need a database come first: if one cannot be built, the failure is logged and retried in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from recorder.calls.context import Node
from storage.customer.customers import Customer
from storage.errors import LinesMissing, OtherNode

AGAIN_SECONDS = 1.0
"""Seconds between tries of an unavailable database, so that the index catches up within seconds of its return."""

RENEW_SECONDS = 10.0
"""Seconds between two renewals of a claim on a database, of which two may fail (storage.customer.node_claim)."""

FIRST_SECONDS = 0.5
"""Seconds a start waits for the databases. An available one needs a tenth of it; an unavailable one must not delay the
start.
"""


async def open_databases(customer: Customer) -> None:
    """Wait until everything that needs a customer's keys and vault is built."""
    while not customer.whole:  # noqa: ASYNC110 - done in a thread
        await asyncio.sleep(AGAIN_SECONDS)


class Databases:
    """Opens every database once; until then the API answers 503 for its customer and the index waits."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._told: set[str] = set()  # customers whose opening was logged as slow or failed

    def start(self) -> None:
        """Start opening all of them at once."""
        for customer in self._node.customers.values():
            self.add(customer)

    def add(self, customer: Customer) -> None:
        """Start opening the database of one customer."""
        self._opening[customer.name] = self._node.tasks.start(self._open(customer), "database")

    async def settled(self, seconds: float = FIRST_SECONDS) -> None:
        """Wait briefly until all are open; log which are not, because the API answers 503 for them."""
        if self._opening:
            await asyncio.wait(self._opening.values(), timeout=seconds)
        for name, opening in self._opening.items():
            if not opening.done() and name not in self._told:
                self._told.add(name)
                self._node.log.warning("database.late", customer=name)

    async def _open(self, customer: Customer) -> None:
        await self._insist(customer, "customer", lambda: asyncio.to_thread(customer.complete))
        await self._insist(customer, "database", customer.open_database)
        self._node.tasks.start(self._hold(customer), "claim")

    async def _hold(self, customer: Customer) -> None:
        """Renew the claim on a database; open it again if another node has taken it, once that one has left, or if it
        has lost what it had.
        """
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await customer.renew_claim()
            except Exception as problem:  # whoever needs an unavailable database reports it
                if isinstance(problem, OtherNode) or not customer.served:
                    self.add(customer)  # which reports it
                    return

    async def _insist(self, customer: Customer, what: str, step: Callable[[], Awaitable[None]]) -> None:
        """Retry until it succeeds; log the first failure, another node, and the recovery from whatever was logged."""
        told: set[type[Exception]] = set()
        while True:
            try:
                await step()
            # calls use the memory, descriptors and threads, and may release them at any moment
            except Exception as problem:
                self._tell(what, customer.name, problem, told)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if told or (what == "database" and customer.name in self._told):
                self._node.log.info(f"{what}.back", customer=customer.name)
                self._told.discard(customer.name)
            return

    def _tell(self, what: str, customer: str, problem: Exception, told: set[type[Exception]]) -> None:
        """Report a failure unless one of this opening was reported already."""
        if isinstance(problem, OtherNode | LinesMissing) and type(problem) not in told:
            hint = f"{problem}: {problem.hint}."
            self._node.log.fault(f"{what}.away", problem, customer=customer, node=problem.node, hint=hint)
        elif not told:
            self._node.log.fault(f"{what}.away", problem, customer=customer)
        if not told:
            self._node.incidents.add(f"{what}-away", customer)
            self._told.add(customer)
        told.add(type(problem))
