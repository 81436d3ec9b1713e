"""What a start does behind the running service: find what a crash left and have it mended."""

from __future__ import annotations

import asyncio

from recorder.live import Live
from recorder.mending import AGAIN_SECONDS, Left, Mending
from recorder.node import Node
from recorder.recovery import left_behind
from storage.customers import Customer
from storage.errors import StorageError


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
        """Find recordings that the index still takes for live ones; False if the database does not answer.

        An index without any call was lost, or there is nothing to be found: then every recording is looked at.
        """
        try:
            found = dict.fromkeys(await customer.calls.unfinished())
            if not await customer.calls.count():
                found.update(await asyncio.to_thread(_all, customer))
        except (StorageError, OSError):
            return False
        for call, leaf in found:
            if self._live.by_id(call) is None:
                self._mending.put(Left(customer, call, leaf))
        return True


def _all(customer: Customer) -> dict[tuple[str, int], None]:
    return dict.fromkeys((ref.call, ref.leaf) for ref in customer.vault.walk())
