"""Match calls with users: keep the users in memory, and match calls again that new data affects.

    job = UserMatchingJob(customers, tasks, log); tasks.start(job.run(), "correlation")

No other task waits for this job. A call that ends before the users are loaded is matched afterwards. One customer is
processed at a time, and a few milliseconds of work are followed by a pause several times as long, because calls are
being recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from recorder.directory.matching_lock import MATCHING, matching_for_all
from recorder.observe.logs import Log
from recorder.runtime.tasks import Tasks
from storage.calls import filter_columns
from storage.customer.customers import Customer
from storage.directory.matcher import Pause

LOOK_SECONDS = 3.0
"""Changes by a synchronisation in another process are noticed after this time."""
RETRY_SECONDS = 10.0
"""After the database was unavailable."""
OPEN_SECONDS = 0.5
"""Until the database was opened for the first time."""
REST_SECONDS = 0.02
"""Between two pieces of work."""
AT_ONCE = 200
"""Calls written in one transaction: each costs a disk sync beside those of the recordings."""
TELL_CALLS = 10_000
"""Processing a million calls logs its progress a hundred times."""


class UserMatchingJob:
    """Keeps every customer's calls matched with its users."""

    def __init__(self, customers: Mapping[str, Customer], tasks: Tasks, log: Log) -> None:
        self._customers = customers
        self._tasks = tasks
        self._log = log
        self._turn = asyncio.Lock()
        self._failing: set[str] = set()  # an outage is logged once
        self._filled: set[str] = set()  # customers without rows of an earlier version; no new ones appear

    async def run(self) -> None:
        """Start the work for every customer; owned by recorder.runtime.tasks."""
        for customer in self._customers.values():
            self.begin(customer)

    def begin(self, customer: Customer) -> None:
        """Start the work for one customer, which may have been away when the others were begun."""
        self._tasks.start(self._serve(customer), "correlation")

    async def _serve(self, customer: Customer) -> None:
        while not customer.served:  # noqa: ASYNC110 - databases open behind the running service
            await asyncio.sleep(OPEN_SECONDS)
        while True:
            well = await self.turn(customer, _rest)
            await asyncio.sleep(LOOK_SECONDS if well else RETRY_SECONDS)

    async def turn(self, customer: Customer, pause: Pause) -> bool:
        """Do what is due; False if it must be retried."""
        async with self._turn:
            try:
                if not (customer.name in self._filled and await customer.user_matcher.at_rest()):
                    await self._learn(customer, pause)
                    await self._fill(customer, pause)
                    await self._look(customer, pause)
            except Exception as problem:  # without this task no call of the customer would be matched any more
                if customer.name not in self._failing:
                    self._log.fault("correlation.failed", problem, customer=customer.name)
                self._failing.add(customer.name)
                return False
        self._failing.discard(customer.name)
        return True

    async def _fill(self, customer: Customer, pause: Pause) -> None:
        """Fill the columns of rows that an earlier version wrote."""
        if customer.name in self._filled:
            return
        async with customer.turns.turn(MATCHING) as turn:
            if turn is None:
                return
            count = await filter_columns.fill(customer.database, customer.keys, pause)
        if count:
            self._log.info("calls.columns_filled", customer=customer.name, count=count)
        self._filled.add(customer.name)

    async def _learn(self, customer: Customer, pause: Pause) -> None:
        """Load the users from the database."""
        user_matcher = customer.user_matcher
        if user_matcher.ready:
            await user_matcher.refresh(pause)
            return
        await user_matcher.load(pause)
        self._log.info("correlation.ready", customer=customer.name, count=len(user_matcher.who or ()))

    async def _look(self, customer: Customer, pause: Pause) -> None:
        """Match the waiting calls, unless a command or another node does."""
        if not await customer.user_matcher.outstanding():
            return
        async with matching_for_all(customer) as ours:
            if not ours and customer.several:
                await customer.user_matcher.settle_live(pause)
            if ours:
                progress = _Progress(self._log, customer.name)
                changed = await customer.user_matcher.settle(progress, pause, AT_ONCE)
                self._log.info("correlation.settled", customer=customer.name, calls=progress.done, changed=changed)


class _Progress:
    """Logs the progress of a long run."""

    def __init__(self, log: Log, customer: str) -> None:
        self.done = 0
        self._log = log
        self._customer = customer

    def __call__(self, done: int, of: int) -> None:
        if done // TELL_CALLS > self.done // TELL_CALLS:
            self._log.info("correlation.walks", customer=self._customer, calls=done, count=of)
        self.done = done


async def _rest() -> None:
    await asyncio.sleep(REST_SECONDS)
