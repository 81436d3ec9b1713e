"""Cut what other nodes cut, where several nodes hold the keys of a customer (storage.holders).

    job = HolderJob(customers, tasks, log, incidents, stop_live); tasks.start(job.run(), "holders")

Each customer has a task of its own, which recorder.maintenance.poll_job wakes when something has changed. The task
wakes the erasures that wait for other nodes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from recorder.observe.incidents import Incidents
from recorder.observe.logs import Log
from recorder.runtime.tasks import Tasks, is_set_within
from storage.customer.customers import Customer
from storage.erasure.erasures import StopLive
from storage.holders.holder import Holder

OPEN_SECONDS = 1.0
"""Pause between two looks whether the database has been opened for the first time."""

REST_SECONDS = 60.0
"""A task that nobody wakes looks after this time."""

AWAY_LOOK_SECONDS = 600.0
"""Pause between two looks for holders that are away."""

DAY = 86_400.0
ALARM_DAYS = 21
"""After so many days an erasure that waits for a holder becomes urgent: Art. 12 GDPR gives one month."""


class HolderJob:
    """Applies the cut lines of every customer whose keys this node holds together with others."""

    def __init__(
        self, customers: Mapping[str, Customer], tasks: Tasks, log: Log, incidents: Incidents, stop_live: StopLive
    ) -> None:
        self._customers = customers
        self._tasks = tasks
        self._log = log
        self._incidents = incidents
        self._stop_live = stop_live
        self._next_look: dict[str, float] = {}
        self._noticed: dict[tuple[str, str], float] = {}  # (customer, node) → when the node was first seen to be away

    async def run(self) -> None:
        """Start the work for every customer; owned by recorder.runtime.tasks."""
        for customer in self._customers.values():
            self.begin(customer)

    def begin(self, customer: Customer) -> None:
        """Start the task of one customer, who may have been away when the others started."""
        self._tasks.start(self._serve(customer), "holders")

    async def _serve(self, customer: Customer) -> None:
        while not customer.served:  # noqa: ASYNC110 - another task opens it and reports failures
            await asyncio.sleep(OPEN_SECONDS)
        holder = customer.holder
        if holder is None:
            return
        well = True
        while not holder.gone:
            try:
                changed = await holder.turn(self._stop_live)
                if changed and customer.erasures.soon and await holder.is_level():  # otherwise nothing could be erased
                    customer.erasures.wanted.set()
                await self._look(customer, holder)
            except Exception as problem:  # if this task ended, this node could open nothing any more
                if well:
                    self._log.fault("holder.failed", problem, customer=customer.name)
                well = False
            else:
                well = True
            await is_set_within(holder.wanted, REST_SECONDS)
        hint = "This node was retired and has overwritten its keys: take it away."
        self._log.error("holder.retired", customer=customer.name, hint=hint)

    async def _look(self, customer: Customer, holder: Holder) -> None:
        """Report holders that have been away for a day, and key trees that differ."""
        now = time.monotonic()
        if now < self._next_look.get(customer.name, 0.0):
            return
        self._next_look[customer.name] = now + AWAY_LOOK_SECONDS
        if holder.trees_differ:
            self._incidents.add("keys-differ", customer.name)
        for node, seconds in (await holder.away()).items():
            noticed = now - self._noticed.setdefault((customer.name, node), now)
            days = (noticed if seconds is None else seconds) / DAY
            if days >= 1:
                kind = "holder-lost" if days >= ALARM_DAYS else "holder-away"
                self._incidents.add(kind, customer.name, node=node)
                self._log.warning("holder.away", customer=customer.name, node=node, days=int(days))
