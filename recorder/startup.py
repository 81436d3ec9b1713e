"""What a start does behind the running service: find what a crash left and have it mended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from recorder.live import Live
from recorder.mending import AGAIN_SECONDS, Left, Mending
from recorder.node import Node
from recorder.recovery import left_behind
from storage.calls import Query
from storage.customers import Customer
from storage.errors import StorageError
from storage.instants import day_of

LOOK_BACK_DAYS = 3
"""Days before the last one whose recordings are looked for in the index: a call of a day, a database away for two."""


class Startup:
    """Runs once; calls are taken meanwhile."""

    def __init__(self, node: Node, live: Live, mending: Mending) -> None:
        self._node = node
        self._live = live
        self._mending = mending

    async def run(self) -> None:
        """Look through every customer; a database that is away delays none but its own."""
        waiting = list(self._node.customers.values())
        for customer in waiting:
            self._open_parts(customer)
        while waiting:
            waiting = [customer for customer in waiting if not await self._unfinished(customer)]
            if waiting:
                await asyncio.sleep(AGAIN_SECONDS)

    def _open_parts(self, customer: Customer) -> None:
        """Find recordings with parts that nobody writes."""
        try:
            found = left_behind(customer, {call.id for call in self._live})
        except (StorageError, OSError) as problem:
            self._node.log.fault("recovery.failed", problem, customer=customer.name)
            return
        for call, leaf in found:
            self._mending.put(Left(customer, call, leaf))

    async def _unfinished(self, customer: Customer) -> bool:
        """Find recordings that the index still takes for live ones or lacks; False if the database does not answer.

        A recording is durable some seconds before it is indexed, hours where the database is away, and a power cut may
        come between. An index without any call was lost, or there is nothing to be found, and one that was older than
        its journal came from a backup: then every recording is looked at, else those of the last days, by the index or
        by the clock, whichever is earlier.
        """
        try:
            found = dict.fromkeys(await customer.calls.unfinished())
            if await customer.calls.count():
                first = await _last_day(customer) - LOOK_BACK_DAYS
                look = partial(_all, customer) if customer.journal.replayed else partial(_since, customer, first)
                there = await asyncio.to_thread(look)
                found.update(dict.fromkeys(await customer.calls.unknown(filter(self._is_over(customer), there))))
            else:
                found.update(await asyncio.to_thread(_all, customer))
        except (StorageError, OSError):
            return False
        for call, leaf in found:
            if self._live.by_id(call) is None:
                self._mending.put(Left(customer, call, leaf))
        return True

    def _is_over(self, customer: Customer) -> Callable[[tuple[str, int]], bool]:
        """Return what tells whether nobody has a recording in hand, to be asked before the index is."""
        pending = self._node.indexer.pending
        return lambda each: self._live.by_id(each[0]) is None and pending(customer.name, each[0]) is None


async def _last_day(customer: Customer) -> int:
    """Return the day of the newest call that the index has, or this day if the clock says that it was before."""
    page = await customer.calls.find(Query(limit=1))
    return min([day_of(customer.now()), *(row.day for row in page.items)])


def _since(customer: Customer, first: int) -> dict[tuple[str, int], None]:
    """List the recordings of all days from `first` on; a clock that was set may have made them of any later one."""
    days = [day for day in customer.vault.days() if day >= first]
    return dict.fromkeys((ref.call, ref.leaf) for day in days for ref in customer.vault.of_day(day))


def _all(customer: Customer) -> dict[tuple[str, int], None]:
    return dict.fromkeys((ref.call, ref.leaf) for ref in customer.vault.walk())
