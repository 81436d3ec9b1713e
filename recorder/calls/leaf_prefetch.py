"""Allot leaf numbers for new recordings in advance, so that no INVITE waits until a counter is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from recorder.runtime.tasks import Tasks
from recorder.session.events import Now
from storage.customer.customers import Customer
from storage.errors import StorageError

DAY_SECONDS = 86_400

AHEAD_SECONDS = 60
"""Seconds before midnight at which the next day's numbers are fetched; today's last over that minute."""


class LeafPrefetch:
    """Runs every second."""

    def __init__(self, customers: Mapping[str, Customer], tasks: Tasks, now: Callable[[], Now]) -> None:
        self._customers = customers
        self._tasks = tasks
        self._now = now
        self._fetching: set[str] = set()

    def fetch_due(self) -> None:
        """Fetch numbers for every customer that is running short of them."""
        now = int(self._now().wall.timestamp())
        for customer in self._customers.values():
            for day in {customer.recording_day(each // DAY_SECONDS) for each in (now, now + AHEAD_SECONDS)}:
                if customer.keys.low(day) and customer.name not in self._fetching:
                    self._fetching.add(customer.name)
                    self._tasks.start(self._fetch(customer, day), "numbers")

    async def _fetch(self, customer: Customer, day: int) -> None:
        try:
            await asyncio.to_thread(customer.keys.refill, day)
        except StorageError:
            return  # tried again in a second; an INVITE that finds no number left reports what is wrong
        finally:
            self._fetching.discard(customer.name)
