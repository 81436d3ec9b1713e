"""Recordings that were not ended as they should be: repair their parts, index them, try again while the storage is ill.

One at a time, so that no part is ever repaired twice at once. A crash, a fault of ours and a full disk all end here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from recorder.calls.context import Node
from recorder.errors import NotPossible
from recorder.persist.indexer import passes
from recorder.persist.repair import Found, index, repair, take_back
from storage.calls.call_document import CallDocument
from storage.customer.customers import Customer
from storage.errors import DamagedPart, Forgotten, StorageError

AGAIN_SECONDS = 2.0
"""A disk or database that is away is tried again this often."""

ROUND = 100
"""Recordings after which what failed is tried again: a lost index may have 100,000 others."""


@dataclass(frozen=True, slots=True)
class Left:
    """One recording to be ended."""

    customer: Customer
    call: str
    leaf: int
    document: CallDocument | None = None  # its last document, where this process still knew it
    lacking: bool = False  # the index has no row of it, so nobody finds it by a party


class RepairQueue:
    """The queue of such recordings."""

    def __init__(self, node: Node, forget: Callable[[str], None]) -> None:
        """`forget` takes a call's checkpoint away: it is called once the recording is in order and indexed."""
        self._node = node
        self._forget = forget
        self._queues: dict[str, deque[Left]] = {}  # by customer, whose turn it is first
        self._known: set[str] = set()
        self._refused: set[str] = set()  # calls of which nothing is to be kept, whoever finds what files of them
        self._wake = asyncio.Event()
        self._told: set[str] = set()
        self._looking: set[str] = set()  # customers of whose index it is not known yet what it lacks
        self._lacking: dict[str, set[str]] = {}  # by customer, recordings that it lacks
        self._closing: dict[str, Customer] = {}  # whose gap ends with the last of them
        self._news = asyncio.Event()  # one of these changed
        self._repaired: set[str] = set()  # recordings that only the index did not take
        self._away: set[str] = set()  # customers whose index took nothing in this round

    def __len__(self) -> int:
        return len(self._known)

    def looking(self, customer: str) -> None:
        """Note that a customer's index is going to be looked through for what it lacks."""
        self._looking.add(customer)

    def looked(self, customer: Customer) -> None:
        """Note that all it lacks is queued; its gap is closed when that is mended."""
        self._looking.discard(customer.name)
        self._closing[customer.name] = customer
        self._news.set()
        self._wake.set()

    async def whole(self, customer: str, seconds: float) -> bool:
        """Wait until the index has all finished recordings of a customer; False if it takes longer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._is_whole(customer):
                    self._news.clear()
                    await self._news.wait()
        return self._is_whole(customer)

    def lacks(self, customer: str) -> bool:
        """Tell whether the index of a customer lacks finished recordings, or may."""
        return not self._is_whole(customer)

    def _is_whole(self, customer: str) -> bool:
        return customer not in self._looking and not self._lacking.get(customer)

    def refuse(self, call: str) -> None:
        """Note that the INVITE of a call was refused: if it is queued, its files are removed."""
        self._refused.add(call)

    def taken_back(self, call: str) -> None:
        """Note that a refused call has no files any more."""
        self._refused.discard(call)

    def put(self, left: Left) -> None:
        """Queue a recording that nobody writes any more; one that is queued already stays as it is."""
        if left.lacking:
            self._lacking.setdefault(left.customer.name, set()).add(left.call)
        if left.call not in self._known:
            self._known.add(left.call)
            self._queue(left)
            self._wake.set()

    def _queue(self, left: Left) -> None:
        self._queues.setdefault(left.customer.name, deque()).append(left)

    def _next(self) -> Left | None:
        """Take one of each customer in turn: one whose index was lost keeps no other waiting for hours."""
        if not self._queues:
            return None
        name = next(iter(self._queues))
        queue = self._queues.pop(name)
        left = queue.popleft()
        if queue:
            self._queues[name] = queue
        return left

    async def run(self) -> None:
        """Mend for ever; owned by recorder.runtime.tasks."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            well = await self.round()
            if not well:
                await asyncio.sleep(AGAIN_SECONDS)
            if self._queues or not well:
                self._wake.set()

    async def round(self) -> bool:
        """Try what waits once, or the first of it; False if something has to be tried again after a while.

        Where an index takes nothing, one recording asks it for all that are repaired: each would be read as a whole.
        """
        again: list[Left] = []
        spared: list[Left] = []
        self._away.clear()
        for _ in range(ROUND):
            left = self._next()
            if left is None:
                break
            if left.customer.name in self._away and left.call in self._repaired:
                spared.append(left)
            elif await self._mend(left):
                self._known.discard(left.call)
                self._refused.discard(left.call)
                self._told.discard(left.call)
                self._repaired.discard(left.call)
                self._lacking.get(left.customer.name, set()).discard(left.call)
                self._news.set()
            else:
                again.append(left)
        for left in (*spared, *again):  # another one asks the next time
            self._queue(left)
        return await self._close_gaps() and not again

    async def _close_gaps(self) -> bool:
        """Note durably whose index lacks nothing any more; False if the disk does not take it now."""
        for name, customer in list(self._closing.items()):
            if not self._is_whole(name):
                continue
            try:
                await asyncio.to_thread(customer.gap.close)
            except StorageError as problem:
                if name not in self._told:
                    self._told.add(name)
                    self._node.log.fault("recovery.failed", problem, customer=name)
                return False
            self._told.discard(name)
            del self._closing[name]
        return True

    async def _mend(self, left: Left) -> bool:
        try:
            found = await asyncio.to_thread(_end, left, refused=left.call in self._refused)
            if found.document is not None:
                await asyncio.wrap_future(self._node.syncer.wait())
                await self._index(left, found.document)
        except Forgotten:
            pass  # erased meanwhile: nothing of it is to be kept
        except DamagedPart as problem:
            self._node.log.fault("recovery.damaged", problem, call=left.call)
        except Exception as problem:
            if isinstance(problem, NotPossible) or passes(problem):
                if left.call not in self._told:
                    self._told.add(left.call)
                    self._node.log.fault("recovery.failed", problem, call=left.call)
                return False
            self._node.log.fault("recovery.fault", problem, call=left.call)
        else:
            self._tell(left, found)
        self._forget(left.call)
        return True

    async def _index(self, left: Left, document: CallDocument) -> None:
        try:
            await index(left.customer, left.leaf, document)
        except Exception as problem:
            if passes(problem):
                self._repaired.add(left.call)
                self._away.add(left.customer.name)
            raise

    def _tell(self, left: Left, found: Found) -> None:
        self._node.log.info("recovery.done", call=found.call, parts=found.repaired)
        if left.document is None and found.document is not None and found.document["state"] == "interrupted":
            self._node.incidents.add("call-interrupted", left.customer.name, call=found.call, reason="crash")
            self._node.metrics.calls.labels("interrupted").inc()


def _end(left: Left, *, refused: bool) -> Found:
    if refused:
        return take_back(left.customer, left.call, left.leaf)
    return repair(left.customer, left.call, left.leaf, left.document)
