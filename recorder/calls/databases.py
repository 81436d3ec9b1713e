"""Opens the customers' databases behind the running service: one that is away keeps nobody from recording.

What stands on a database comes first: where that cannot be put together it is told, and tried again, in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from recorder.calls.context import Node
from storage.customer.customers import Customer

AGAIN_SECONDS = 1.0
"""What is away is tried again this often, so that the index catches up within seconds of its return."""

FIRST_SECONDS = 0.5
"""A start waits so long for the databases: one that is there takes a tenth of it, one that is away must not delay."""


async def open_databases(customer: Customer) -> None:
    """Wait until what stands on a customer's keys and vault is there."""
    while not customer.whole:  # noqa: ASYNC110 - done in a thread
        await asyncio.sleep(AGAIN_SECONDS)


class Databases:
    """Opens every database once; until then the API answers 503 for its customer and the index waits."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._told: set[str] = set()  # whose opening was said to take its time, or to fail

    def start(self) -> None:
        """Begin with all of them at once."""
        for customer in self._node.customers.values():
            self._opening[customer.name] = self._node.tasks.start(self._open(customer), "database")

    async def settled(self, seconds: float = FIRST_SECONDS) -> None:
        """Wait until all are open, for a moment only; say which are not, for the API answers 503 for these."""
        if self._opening:
            await asyncio.wait(self._opening.values(), timeout=seconds)
        for name, opening in self._opening.items():
            if not opening.done() and name not in self._told:
                self._told.add(name)
                self._node.log.warning("database.late", customer=name)

    async def _open(self, customer: Customer) -> None:
        await self._insist(customer, "customer", lambda: asyncio.to_thread(customer.complete))
        await self._insist(customer, "database", customer.open_database)

    async def _insist(self, customer: Customer, what: str, step: Callable[[], Awaitable[None]]) -> None:
        """Try until it is done; the first failure is told, and so is the end of whatever was told."""
        away = False
        while True:
            try:
                await step()
            except Exception as problem:  # memory, descriptors and threads are the calls', and may be free in a moment
                if not away:
                    self._node.log.fault(f"{what}.away", problem, customer=customer.name)
                    self._node.incidents.add(f"{what}-away", customer.name)
                    self._told.add(customer.name)
                away = True
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if away or (what == "database" and customer.name in self._told):
                self._node.log.info(f"{what}.back", customer=customer.name)
                self._told.discard(customer.name)
            return
