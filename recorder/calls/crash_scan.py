"""After a start, find recordings that a crash left unfinished and queue them for repair, while calls are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial

from recorder.calls.registry import Live
from recorder.calls.repair_queue import AGAIN_SECONDS, Left, RepairQueue
from recorder.observe.logs import Log
from recorder.persist.indexer import Indexer
from recorder.persist.repair import left_behind
from storage.calls.call_index import Query
from storage.calls.call_row import DAY_SHIFT
from storage.customer.customers import Customer
from storage.database.database import DatabaseAway
from storage.journal.index_gap import ALL, LOOK_BACK_DAYS
from storage.timestamps import DAY_MICROS, day_of


class CrashScan:
    """Runs once for some customers; calls are taken meanwhile."""

    def __init__(
        self, customers: Iterable[Customer], live: Live, repairs: RepairQueue, indexer: Indexer, log: Log
    ) -> None:
        """`customers`: whose recordings to find."""
        self._customers = tuple(customers)
        self._indexer = indexer
        self._log = log
        self._live = live
        self._repairs = repairs
        self._told: set[str] = set()
        self._looked: set[str] = set()
        for customer in self._customers:
            repairs.looking(customer.name)
            if customer.whole:  # otherwise later, when it has run
                customer.erasures.look_from(partial(self._gap, customer))

    def _gap(self, customer: Customer) -> int | None:
        """Return from which day on the index may lack recordings, including those queued for it; callable from any
        thread.
        """
        waits, found = timedelta(seconds=self._indexer.oldest()), customer.gap.first()
        days = [day_of(customer.now() - waits) - 1] if waits else []
        # the newest call may be three days old, and the scan looks three further back
        if customer.name not in self._looked:
            days.append(day_of(customer.now()) - 2 * LOOK_BACK_DAYS)
        return min([*days, *([] if found is None else [found])], default=None)

    async def run(self) -> None:
        """Scan every customer; an unavailable database delays only its own customer."""
        for customer in self._customers:
            self._open_parts(customer)
        await self.index()

    async def index(self) -> None:
        """Find recordings that the index lacks, or lists as live, and nobody is working on."""
        waiting = list(self._customers)
        while waiting:
            waiting = [customer for customer in waiting if not await self._unfinished(customer)]
            if waiting:
                await asyncio.sleep(AGAIN_SECONDS)

    def _open_parts(self, customer: Customer) -> None:
        """Find recordings with parts that nobody writes."""
        try:
            found = left_behind(customer, {call.id for call in self._live})
        except Exception as problem:  # recordings whose row says that they are live are found by that
            self._log.fault("recovery.failed", problem, customer=customer.name)
            return
        for call, leaf in found:
            self._repairs.put(Left(customer, call, leaf))

    async def _unfinished(self, customer: Customer) -> bool:
        """Find recordings that the index still lists as live, or lacks; False if the database does not answer.

        A recording is durable some seconds before it is indexed, or hours if the database is unavailable, and a power
        cut may come in between. If the index has no call, it was lost or there is nothing to find; if it was older than
        its journal, it came from a backup. In both cases every recording is checked. Otherwise only the last days are,
        counted from the newest call or the clock, whichever is earlier. A scan that an earlier start did not finish is
        continued.
        """
        try:
            customer.erasures.look_from(partial(self._gap, customer))
            unfinished, empty = await customer.calls.unfinished(), not await customer.calls.count()
            first = ALL if empty else await self._first(customer)
            there = await asyncio.to_thread(_since, customer, first)
            lacking = there if empty else await customer.calls.unknown(filter(self._is_over(customer), there))
            if lacking:  # a recording that cannot be read now is looked for again at any later start
                await asyncio.to_thread(customer.gap.widen, min(leaf for _, leaf in lacking) >> DAY_SHIFT)
        except DatabaseAway:
            return False  # reported where it is opened
        except Exception as problem:  # without it no search for a participant would be answered any more
            if customer.name not in self._told:
                self._told.add(customer.name)
                self._log.fault("recovery.failed", problem, customer=customer.name)
            return False
        for call, leaf in unfinished:
            self._put(Left(customer, call, leaf))
        for call, leaf in lacking:
            self._put(Left(customer, call, leaf, lacking=True))
        self._looked.add(customer.name)
        self._repairs.looked(customer)
        return True

    def _put(self, left: Left) -> None:
        if self._live.by_id(left.call) is None:
            self._repairs.put(left)

    async def _first(self, customer: Customer) -> int:
        """Return the day from which to look for recordings."""
        if customer.journal.replayed:
            return ALL
        gap = await asyncio.to_thread(customer.gap.first)
        usual = await _last_day(customer) - LOOK_BACK_DAYS
        return usual if gap is None else min(usual, gap)

    def _is_over(self, customer: Customer) -> Callable[[tuple[str, int]], bool]:
        """Return a check that nobody is working on a recording; call it before asking the index."""
        pending = self._indexer.pending
        return lambda each: self._live.by_id(each[0]) is None and pending(customer.name, each[0]) is None


async def _last_day(customer: Customer) -> int:
    """Return the day of the newest call in the index, or today if the clock is earlier.

    With several nodes, that of the newest call which is known to be there with all older ones of this node.
    """
    if customer.indexed is not None and (until := await customer.indexed.until()):
        return min(day_of(customer.now()), until // DAY_MICROS)
    page = await customer.calls.find(Query(limit=1))
    return min([day_of(customer.now()), *(row.day for row in page.items)])


def _since(customer: Customer, first: int) -> dict[tuple[str, int], None]:
    """List the recordings of all days from `first` on; a clock that was changed may have dated some later."""
    return dict.fromkeys((ref.call, ref.leaf) for ref in customer.vault.since(first))
