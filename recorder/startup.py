"""What a start does behind the running service: find what a crash left and have it mended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from recorder.live import Live
from recorder.mending import AGAIN_SECONDS, Left, Mending
from recorder.node import Node
from recorder.recovery import left_behind
from storage.customers import Customer
from storage.errors import StorageError
from storage.instants import day_of

LOOK_BACK_DAYS = 3
"""Days before this one whose recordings are looked for in the index: a call of a day, and a database away for two."""


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
        its journal came from a backup: then every recording is looked at, else those of the last days.
        """
        try:
            found = dict.fromkeys(await customer.calls.unfinished())
            if await customer.calls.count():
                look = _all if customer.journal.replayed else _recent
                there = await asyncio.to_thread(look, customer)
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


def _recent(customer: Customer) -> dict[tuple[str, int], None]:
    today = day_of(customer.now())
    days = range(today - LOOK_BACK_DAYS, today + 2)  # a call begun before a wrong clock was set is of tomorrow
    return dict.fromkeys((ref.call, ref.leaf) for day in days for ref in customer.vault.of_day(day))


def _all(customer: Customer) -> dict[tuple[str, int], None]:
    return dict.fromkeys((ref.call, ref.leaf) for ref in customer.vault.walk())
