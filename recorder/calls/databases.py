"""Open the customers' databases in the background: an unavailable database never stops recording.

Components that need a database come first: if one cannot be built, the failure is logged and retried in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from recorder.calls.context import Node
from recorder.runtime.tasks import retry
from storage.customer.customers import Customer
from storage.errors import LinesMissing, OtherNode

if TYPE_CHECKING:
    from recorder.calls.membership import Membership
    from storage.access.shared_documents import News

AGAIN_SECONDS = 1.0
"""Seconds between tries of an unavailable database, so that the index catches up within seconds of its return."""

RENEW_SECONDS = 10.0
"""Seconds between two renewals of a claim on a database, of which two may fail (storage.nodes.rows)."""

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

    def __init__(
        self,
        node: Node,
        customers: Mapping[str, Customer],
        membership: Membership | None,
        brought_back: Callable[[Customer], None],
    ) -> None:
        """`membership`: None if this is the only node; `brought_back` is told of a customer whose database had lost
        commits and is open again.
        """
        self._node = node
        self._customers = customers
        self._membership = membership
        self._brought_back = brought_back
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._following: set[str] = set()  # customers whose tokens and accounts follow those of other nodes
        self._told: set[str] = set()  # customers whose opening was logged as slow or failed

    def start(self) -> None:
        """Start opening all of them at once."""
        for customer in self._customers.values():
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
        if self._membership is not None:
            self._membership.served(customer.name, customer.registry.state)
        self._node.tasks.start(self._hold(customer), "claim")
        if customer.shared is not None and customer.name not in self._following:
            self._following.add(customer.name)
            self._node.tasks.start(self._follow(customer), "access")

    async def _hold(self, customer: Customer) -> None:
        """Renew the claim on a database, and open it again if it lost commits or when another node that took it has
        left.
        """
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                state = await customer.renew_claim()
            except OtherNode:
                self._lost(customer)
                self.add(customer)  # which reports it
                return
            except Exception:
                if customer.served:
                    continue  # whoever needs an unavailable database reports it
                self._node.tasks.start(self._again(customer), "database")
                return
            if self._membership is not None:
                self._membership.served(customer.name, state)

    async def _again(self, customer: Customer) -> None:
        """Open a database that lost commits, so that it gets them back, and look for recordings that it lacks."""
        self._node.log.warning("database.older", customer=customer.name)
        await self._open(customer)
        self._brought_back(customer)

    def _lost(self, customer: Customer) -> None:
        if self._membership is not None:
            self._membership.lost(customer.name)

    async def _follow(self, customer: Customer) -> None:
        """Keep tokens and accounts as the other nodes have them; report once what goes wrong."""
        log, shared = self._node.log, customer.shared

        def told(news: Sequence[News]) -> None:
            kinds: dict[str, list[str]] = {}
            for event, name in news:
                kinds.setdefault(event, []).append(name.partition(".")[0])
            if "taken-over" in kinds:
                log.info("access.taken_over", customer=customer.name, kind=kinds["taken-over"])
            if "put-back" in kinds:
                log.warning("access.put_back", customer=customer.name, kind=kinds["put-back"])
            if "replaced" in kinds:
                log.warning("access.replaced", customer=customer.name, kind=kinds["replaced"])

        if shared is not None:
            await shared.follow(told, lambda problem: log.fault("access.failed", problem, customer=customer.name))

    async def _insist(self, customer: Customer, what: str, step: Callable[[], Awaitable[None]]) -> None:
        """Retry until it succeeds; log the first failure, another node, and the recovery from whatever was logged."""
        told: set[type[Exception]] = set()

        def failed(problem: Exception) -> float:
            if isinstance(problem, OtherNode):
                self._lost(customer)
            self._tell(what, customer.name, problem, told)
            return AGAIN_SECONDS

        await retry(step, failed)  # calls use the memory, descriptors and threads, and may release them at any moment
        if told or (what == "database" and customer.name in self._told):
            self._node.log.info(f"{what}.back", customer=customer.name)
            self._told.discard(customer.name)

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
