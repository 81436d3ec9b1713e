"""Keep the locks of an object store in step with retention and legal holds, for customers whose store locks.

    job = LockJob(customers, log); tasks.start(job.run(), "locks")

An object is locked until the day after its call is due: from its upload on, if the day is known by then. This job
extends locks when retention grows, but never shortens them; it puts calls under legal hold on hold in the store too;
and it deletes what is left of erased calls once their locks end. The work follows from the index and from notes on the
disk (storage.vault.lock_notes), so nothing is forgotten if the process is killed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from recorder.observe.logs import Log
from storage.batches import batches
from storage.customer.customers import Customer
from storage.database.database import DatabaseAway
from storage.errors import ObjectMissing, StorageError, StoreAway
from storage.timestamps import day_of
from storage.vault.object_vault import ObjectVault
from storage.vault.parts import PartRef

LOOK_SECONDS = 5.0
"""Pause between two looks for legal holds and for parts that were uploaded before their date was known."""

ALL_SECONDS = 3600.0
"""Pause between two comparisons of all locks with retention. An hour is enough: locks end a day after a call is due."""

REST = 20
"""The pause is at least this many times as long as the comparison took: a vault may have millions of parts."""

TRIES = 10
"""Failures in a row after which the store counts as away until the next look."""

BATCH = 1_000
"""Parts whose calls are looked up in the index together."""

YEARS = 2
"""What is kept for ever is locked until the New Year after next, so that its lock is extended once a year."""

T = TypeVar("T")


def lock_day(due: datetime | None, now: datetime) -> int:
    """Return the day on which a call's lock must end; 0 if it needs no lock any more.

    `due`: when the retention of the call ends, None if it is kept for ever. Days since 1970-01-01.
    """
    if due is None:
        return day_of(datetime(now.year + YEARS, 1, 1, tzinfo=UTC))
    day = day_of(due) + 1
    return day if day > day_of(now) else 0


def why_away(problem: StoreAway) -> str:
    """Return the reason for the log: "refused" if the store denied access, else "away"."""
    return "refused" if "access_key" in problem.hint else "away"


@dataclass(slots=True)
class _Seen:
    """What is known of one customer."""

    held: set[tuple[str, int, str]] = field(default_factory=set)  # parts put on hold since the start
    next_all: float = 0.0  # when all locks are compared again, by the monotonic clock
    reported: bool = False  # the present failure was logged


class _Round:
    """One pass over a customer's parts. The failure of one part does not stop the others, unless the store is away."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.failed: Exception | None = None
        self._threads = threads
        self._in_a_row = 0

    async def do(self, work: Callable[..., T], *given: object) -> T | None:
        """Return the result of `work`, run in the thread; None if it fails. Raises after TRIES failures in a row."""
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)
        except StorageError as problem:
            self.failed = self.failed or problem
            self._in_a_row += 1
            if self._in_a_row >= TRIES:
                raise
            return None
        self._in_a_row = 0
        return result


class LockJob:
    """Keeps the locks of all customers of the node."""

    def __init__(self, customers: Mapping[str, Customer], log: Log) -> None:
        self._customers = customers
        self._log = log
        self._seen: dict[str, _Seen] = {}

    async def run(self) -> None:
        """Look for ever; owned by recorder.runtime.tasks."""
        threads = ThreadPoolExecutor(1, "lock")
        try:
            while True:
                for customer in list(self._customers.values()):
                    vault = customer.vault
                    if isinstance(vault, ObjectVault) and vault.objects.locks and customer.served:
                        await self._guarded(threads, customer, vault)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _guarded(self, threads: ThreadPoolExecutor, customer: Customer, vault: ObjectVault) -> None:
        """Bring the locks of one customer up to date; log a failure once and try again at the next look."""
        seen, one = self._seen.setdefault(customer.name, _Seen()), _Round(threads)
        try:
            await self._holds(one, customer, vault, seen)
            await self._dates(one, customer, vault, seen)
        except DatabaseAway:
            return  # reported by the task that opens it
        except Exception as problem:  # if this task ended, no lock would be extended any more
            one.failed = one.failed or problem
        if one.failed is not None and not seen.reported:
            self._report(customer, one.failed)
        seen.reported = one.failed is not None

    def _report(self, customer: Customer, problem: Exception) -> None:
        if isinstance(problem, StoreAway):
            why = why_away(problem)
            self._log.error("store.lock_failed", customer=customer.name, reason=why, hint=problem.hint)
        else:
            self._log.fault("store.lock_failed", problem, customer=customer.name)

    async def _holds(self, one: _Round, customer: Customer, vault: ObjectVault, seen: _Seen) -> None:
        """Put the objects of all calls under legal hold on hold, and end the holds of all others."""
        wanted = await customer.holds.every()
        for ref in await one.do(vault.held) or ():
            if (ref.call, ref.leaf) not in wanted:
                await one.do(vault.end_hold, ref)
        seen.held = {each for each in seen.held if each[:2] in wanted}
        for call, leaf in wanted:
            for ref in await one.do(vault.parts, call, leaf) or ():
                key = (ref.call, ref.leaf, ref.part)
                if ref.finished and key not in seen.held and await one.do(vault.hold, ref):
                    seen.held.add(key)

    async def _dates(self, one: _Round, customer: Customer, vault: ObjectVault, seen: _Seen) -> None:
        """Extend the locks of new parts; every ALL_SECONDS compare all locks, and delete objects whose lock is over."""
        fresh = vault.take_unlocked()
        try:
            await self._extend(one, customer, vault, list(fresh))
        except BaseException:
            vault.to_lock(*fresh)
            raise
        if time.monotonic() < seen.next_all:
            return
        began = time.monotonic()
        for day in vault.days():
            found = await one.do(lambda day=day: [ref for ref, _ in vault.pointers(day)])
            await self._extend(one, customer, vault, found or ())
        await one.do(vault.delete_unlocked, day_of(customer.now()))
        seen.next_all = time.monotonic() + max(ALL_SECONDS, REST * (time.monotonic() - began))

    async def _extend(self, one: _Round, customer: Customer, vault: ObjectVault, found: Sequence[PartRef]) -> None:
        """Extend the locks of parts; look again later at parts without one, whose call is not over yet."""
        now = customer.now()
        for some in batches(found, BATCH):
            due = await customer.calls.retained(ref.call for ref in some)
            locked = await one.do(lambda some=some: [vault.pointer(ref) for ref in some]) or ()
            for ref, pointer in zip(some, locked, strict=False):
                if pointer is None:  # it was erased
                    continue
                if ref.call not in due:
                    if not pointer.locked:
                        vault.to_lock(ref)
                elif (until := lock_day(due[ref.call], now)) > pointer.locked:
                    vault.to_lock(ref)
                    if await one.do(self._lock, customer, vault, ref, until):
                        vault.locked(ref)

    def _lock(self, customer: Customer, vault: ObjectVault, ref: PartRef, until: int) -> bool:
        try:
            vault.lock(ref, until)
        except ObjectMissing:
            self._log.error("store.lost", customer=customer.name, call=ref.call, part=ref.part)
        return True
