"""Copy this node's audit logs to the databases that several nodes share, in the background.

A request is answered once its entry is in the node's own log. The copy follows within seconds, or when the database is
available again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from recorder.observe.logs import Log
from storage.customer.customers import Customer

EVERY_SECONDS = 2.0
LOOK_ROUNDS = 30
"""After this many rounds the job asks the database even if nothing is new: it may have lost what was copied."""


class AuditCopyJob:
    """Copies the logs of all customers; what cannot be copied is tried again in the next round."""

    def __init__(self, customers: Mapping[str, Customer], log: Log) -> None:
        self._customers = customers
        self._log = log
        self._failed: set[str] = set()  # customers whose failure was logged

    async def run(self) -> None:
        """Run for ever; owned by recorder.runtime.tasks."""
        rounds = 0
        while True:
            for customer in list(self._customers.values()):
                if customer.served:
                    await self.copy(customer, look=rounds % LOOK_ROUNDS == 0)
            rounds += 1
            await asyncio.sleep(EVERY_SECONDS)

    async def copy(self, customer: Customer, *, look: bool = False) -> None:
        """Copy the entries of one customer's log that the database lacks; log the first failure.

        `look`: ask the database what it has, even if the log has not grown.
        """
        try:
            if customer.audit_copies is not None:
                await customer.audit_copies.push(look=look)
        except Exception as problem:  # any failure affects this customer alone
            if customer.name not in self._failed:
                self._failed.add(customer.name)
                self._log.fault("audit.copy_failed", problem, customer=customer.name)
        else:
            self._failed.discard(customer.name)
