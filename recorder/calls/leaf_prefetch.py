"""Numbers for new recordings are fetched ahead of need, so that no INVITE waits until a count is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from recorder.runtime.tasks import Tasks
from recorder.session.events import Now
from storage.customer.customers import Customer
from storage.errors import StorageError

DAY_SECONDS = 86_400

AHEAD_SECONDS = 60
"""So long before midnight the numbers of the next day are fetched; those of today last over the minute."""


class LeafPrefetch:
    """A chore of every second."""

    def __init__(self, customers: Mapping[str, Customer], tasks: Tasks, now: Callable[[], Now]) -> None:
        self._customers = customers
        self._tasks = tasks
        self._now = now
        self._fetching: set[str] = set()

    def tend(self) -> None:
        """Have numbers fetched for every customer who runs short of them."""
        now = int(self._now().wall.timestamp())
        for customer in self._customers.values():
            for day in {now // DAY_SECONDS, (now + AHEAD_SECONDS) // DAY_SECONDS}:
                if customer.keys.low(day) and customer.name not in self._fetching:
                    self._fetching.add(customer.name)
                    self._tasks.start(self._fetch(customer, day), "numbers")

    async def _fetch(self, customer: Customer, day: int) -> None:
        try:
            await asyncio.to_thread(customer.keys.refill, day)
        except StorageError:
            return  # tried again in a second; an INVITE that finds no number left says what is wrong
        finally:
            self._fetching.discard(customer.name)
