"""Recordings that did not end normally: repair their parts, index them, and retry while the storage fails.

One at a time, so that no part is repaired twice at once. They come from crashes, internal errors and full disks.
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
from storage.vault.group_sync import Syncer

AGAIN_SECONDS = 2.0
"""Seconds between tries while a disk or database is unavailable."""

ROUND = 100
"""Recordings between retries of those that failed: a lost index may have 100,000 others."""


@dataclass(frozen=True, slots=True)
class Left:
    """One recording to be repaired."""

    customer: Customer
    call: str
    leaf: int
    document: CallDocument | None = None  # its last document, where this process still knew it
    lacking: bool = False  # the index has no row of it, so nobody finds it by a party


class RepairQueue:
    """The queue of such recordings."""

    def __init__(self, node: Node, syncer: Syncer, forget: Callable[[str], None]) -> None:
        """`forget` deletes a call's checkpoint; it is called once the recording is repaired and indexed."""
        self._node = node
        self._syncer = syncer
        self._forget = forget
        self._queues: dict[str, deque[Left]] = {}  # by customer, in the order of their turns
        self._known: set[str] = set()
        self._refused: set[str] = set()  # calls of which nothing may be kept, whoever finds files of them
        self._wake = asyncio.Event()
        self._told: set[str] = set()
        self._looking: set[str] = set()  # customers for whom it is not yet known what the index lacks
        self._lacking: dict[str, set[str]] = {}  # by customer, recordings that the index lacks
        self._closing: dict[str, Customer] = {}  # customers whose gap ends with the last of these
        self._news = asyncio.Event()  # one of these changed
        self._repaired: set[str] = set()  # recordings that only the index refused
        self._away: set[str] = set()  # customers whose index took nothing in this round

    def __len__(self) -> int:
        return len(self._known)

    def looking(self, customer: str) -> None:
        """Note that a customer's index is about to be checked for missing recordings."""
        self._looking.add(customer)

    def looked(self, customer: Customer) -> None:
        """Note that all missing recordings are queued; the customer's gap is closed when they are repaired."""
        self._looking.discard(customer.name)
        self._closing[customer.name] = customer
        self._news.set()
        self._wake.set()

    async def whole(self, customer: str, seconds: float) -> bool:
        """Wait until the index has all finished recordings of a customer; False on a timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._is_whole(customer):
                    self._news.clear()
                    await self._news.wait()
        return self._is_whole(customer)

    def lacks(self, customer: str) -> bool:
        """Tell whether the index of a customer lacks finished recordings, or may lack some."""
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
        """Queue a recording that nobody writes any more; one already queued stays as it is."""
        if left.lacking:
            self._lacking.setdefault(left.customer.name, set()).add(left.call)
        if left.call not in self._known:
            self._known.add(left.call)
            self._queue(left)
            self._wake.set()

    def _queue(self, left: Left) -> None:
        self._queues.setdefault(left.customer.name, deque()).append(left)

    def _next(self) -> Left | None:
        """Take one of each customer in turn, so that a customer with a lost index does not delay
        the others for hours.
        """
        if not self._queues:
            return None
        name = next(iter(self._queues))
        queue = self._queues.pop(name)
        left = queue.popleft()
        if queue:
            self._queues[name] = queue
        return left

    async def run(self) -> None:
        """Repair for ever; owned by recorder.runtime.tasks."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            well = await self.round()
            if not well:
                await asyncio.sleep(AGAIN_SECONDS)
            if self._queues or not well:
                self._wake.set()

    async def round(self) -> bool:
        """Try each waiting recording once, or only the first; False if a retry is needed later.

        If an index takes nothing, one recording tests it for all that are repaired: each would otherwise be read in
        full.
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
            elif await self._repair(left):
                self._known.discard(left.call)
                self._refused.discard(left.call)
                self._told.discard(left.call)
                self._repaired.discard(left.call)
                self._lacking.get(left.customer.name, set()).discard(left.call)
                self._news.set()
            else:
                again.append(left)
        for left in (*spared, *again):  # another one tests it next time
            self._queue(left)
        return await self._close_gaps() and not again

    async def _close_gaps(self) -> bool:
        """Store durably whose index is complete again; False if the disk refuses."""
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

    async def _repair(self, left: Left) -> bool:
        try:
            found = await asyncio.to_thread(_end, left, refused=left.call in self._refused)
            if found.document is not None:
                await asyncio.wrap_future(self._syncer.wait())
                await self._index(left, found.document)
        except Forgotten:
            pass  # erased meanwhile: nothing of it may be kept
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
            self._node.metrics.call("interrupted", left.customer.name)


def _end(left: Left, *, refused: bool) -> Found:
    if refused:
        return take_back(left.customer, left.call, left.leaf)
    return repair(left.customer, left.call, left.leaf, left.document)
