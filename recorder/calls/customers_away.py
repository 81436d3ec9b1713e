"""Customers that could not be opened at the start: their SBCs get 503, and each is tried again until it opens.

One customer's keys must not keep the others from being recorded. A start fails only if no customer can be opened,
because then the disk is likely not there, and later it would be another one than the start has seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from recorder.observe.incidents import Incidents
from recorder.observe.logs import Log
from storage.customer.customers import Customer, Customers

AGAIN_SECONDS = 1.0
"""Seconds between tries, so that an operator who brings keys back need not restart anything."""

Opened = Callable[[Customer], Awaitable[None]]
"""Takes a customer that is open at last, before its calls are taken."""


class CustomersAway:
    """Tries to open them, and adds each to the node when it is open."""

    def __init__(
        self, log: Log, incidents: Incidents, customers: Customers, away: Mapping[str, Exception],
        open_one: Callable[[str], Customer], never: Mapping[str, Exception] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """`away`: their names and what is wrong; `open_one` opens one in a thread, or raises.

        `never`: those that are away until the next start, because a file that the configuration names for them cannot
        be used.
        """
        self._never = dict(never)
        self._log = log
        self._incidents = incidents
        self._customers = customers
        self._away = dict(away)
        self._open_one = open_one

    @property
    def names(self) -> frozenset[str]:
        """Return whose keys cannot be opened."""
        return frozenset((*self._away, *self._never))

    def report(self) -> None:
        """Log each, and list an incident."""
        for name, problem in (*self._away.items(), *self._never.items()):
            self._log.fault("customer.away", problem, customer=name)
            self._incidents.add("customer-away", name)

    async def run(self, opened: Opened) -> None:
        """Try them until all are open; owned by recorder.runtime.tasks."""
        while self._away:
            await asyncio.sleep(AGAIN_SECONDS)
            for name in tuple(self._away):
                try:
                    customer = await asyncio.to_thread(self._open_one, name)
                except Exception:  # noqa: S112 - what is wrong was logged at the start
                    continue
                self._customers.add(customer)
                del self._away[name]
                self._log.info("customer.back", customer=name)
                try:
                    await opened(customer)
                except Exception as problem:  # the others are still tried
                    self._log.fault("customer.join_failed", problem, customer=name)
