"""Delete users automatically (`purge_users` of a customer) soon after their last recording was erased.

job = PurgeJob(customers, tasks, log, indexer); tasks.start(job.run(), "purge")
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from recorder.observe.logs import Log
from recorder.persist.indexer import Indexer
from recorder.runtime.tasks import Tasks
from storage.access.actor import RECORDER
from storage.audit.hash_chain import Act
from storage.customer.customers import Customer
from storage.directory import user_purge
from storage.directory.user_purge import Reason
from storage.errors import StorageError

LOOK_SECONDS = 10.0
"""The end of an erasure or a synchronisation is noticed after this time."""
SETTLE_SECONDS = 5.0
"""How long to wait until calls that just started are in the index; if they are not, all users stay for this round."""
TURN_SECONDS = 120.0
"""One of several nodes purges, and goes on until it has not looked for this time; then another one may."""
REST_SECONDS = 0.1
"""Between two pages of users: calls are being recorded."""


class PurgeJob:
    """Deletes users that neither a directory nor a recording needs."""

    def __init__(self, customers: Mapping[str, Customer], tasks: Tasks, log: Log, indexer: Indexer) -> None:
        self._customers = customers
        self._tasks = tasks
        self._log = log
        self._indexer = indexer
        self._seen: dict[str, Reason] = {}

    async def run(self) -> None:
        """Start the work for every customer; owned by recorder.runtime.tasks."""
        for customer in self._customers.values():
            self.begin(customer)

    def begin(self, customer: Customer) -> None:
        """Start the task of one customer if it has `purge_users`; it may have been away when the others started."""
        if customer.settings.purge_users:
            self._tasks.start(self._serve(customer), "purge")

    async def _serve(self, customer: Customer) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.turn(customer)

    async def turn(self, customer: Customer) -> int:
        """Delete unneeded users if anything happened since the last time; return how many."""
        if not customer.served:
            return 0
        try:
            if not await customer.turns.hold("purge", TURN_SECONDS):
                return 0
            reason = await user_purge.reason(customer.database)
            if reason == self._seen.get(customer.name):
                return 0
            if not await self._indexer.hurry_all(customer.name, SETTLE_SECONDS):
                return 0  # a running call is a recording too
            if customer.indexed and not await customer.indexed.reached(SETTLE_SECONDS):
                return 0  # and so is one of another node
            if await customer.user_matcher.outstanding():
                return 0  # the participants of some calls are not known yet
            gone = await user_purge.purge(customer.users, lambda id: _noted(customer, id), _rest)
            self._seen[customer.name] = await user_purge.reason(customer.database) if gone else reason
        except Exception as problem:  # without this task no user of the customer would be purged any more
            self._log.fault("users.purge_failed", problem, customer=customer.name)
            with suppress(StorageError):  # another node may be able to
                await customer.turns.hold("purge", 0.0)
            return 0
        if gone:
            self._log.info("users.purged", customer=customer.name, count=gone)
        return gone


async def _noted(customer: Customer, id: str) -> None:
    act = Act.of(RECORDER, "system", "user.delete", id, "done", "no recording refers to the user any more")
    await asyncio.wrap_future(customer.audit.append(act))


async def _rest() -> None:
    await asyncio.sleep(REST_SECONDS)
