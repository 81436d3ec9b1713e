"""Keep the locks of an object store in step with retention and legal holds, for customers whose store locks.

    job = LockJob(customers, log); tasks.start(job.run(), "locks")

An object is locked until the day after its call is due, from its upload on if that is known by then. Here locks are
extended with retention, never shortened; calls under legal hold are held in the store too; and what a lock kept of
erased calls is deleted when it ends. What is to be done is what index and notes on the disk show
(storage.vault.lock_notes), so a kill forgets nothing.
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
from storage.customer.customers import Customer
from storage.errors import ObjectMissing, StorageError
from storage.timestamps import day_of
from storage.vault.object_vault import ObjectVault
from storage.vault.parts import PartRef

LOOK_SECONDS = 5.0
"""Pause between two looks for legal holds and for parts that were uploaded before their date was known."""

ALL_SECONDS = 3600.0
"""Pause between two comparisons of all locks with retention: it grows by days, and a lock outlasts a due call."""

REST = 20
"""And at least this many times as long as a comparison took: a vault may have millions of parts."""

BATCH = 1_000
"""Parts whose calls are looked up in the index together."""

YEARS = 2
"""What is kept for ever is locked until a New Year, the next but one: so the lock is extended once a year."""

T = TypeVar("T")


def lock_day(due: datetime | None, now: datetime) -> int:
    """Return the day on which the lock of a call ends whose retention ends at `due`; 0: it needs none any more."""
    if due is None:
        return day_of(datetime(now.year + YEARS, 1, 1, tzinfo=UTC))
    day = day_of(due) + 1
    return day if day > day_of(now) else 0


@dataclass(slots=True)
class _Seen:
    """What is known of one customer."""

    held: set[tuple[str, int, str]] = field(default_factory=set)  # parts whose hold was asked for since the start
    next_all: float = 0.0
    told: bool = False  # the present trouble was reported


class LockJob:
    """The locks of all customers of the node."""

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
        """Look at one customer; whatever goes wrong is reported once and tried again."""
        seen = self._seen.setdefault(customer.name, _Seen())
        try:
            await self._holds(threads, customer, vault, seen)
            await self._dates(threads, customer, vault, seen)
        except Exception as problem:  # without this task no lock would be extended any more
            if not seen.told:
                seen.told = True
                hint = problem.hint if isinstance(problem, StorageError) else ""
                self._log.error("store.lock_failed", customer=customer.name, reason=type(problem).__name__, hint=hint)
        else:
            seen.told = False

    async def _holds(self, threads: ThreadPoolExecutor, customer: Customer, vault: ObjectVault, seen: _Seen) -> None:
        """Hold what is held, and nothing else."""
        wanted = await customer.holds.every()
        for ref in await _in(threads, vault.held):
            if (ref.call, ref.leaf) not in wanted:
                await _in(threads, vault.end_hold, ref)
        seen.held = {each for each in seen.held if each[:2] in wanted}
        for call, leaf in wanted:
            for ref in await _in(threads, vault.parts, call, leaf):
                key = (ref.call, ref.leaf, ref.part)
                if ref.finished and key not in seen.held and await _in(threads, vault.hold, ref):
                    seen.held.add(key)

    async def _dates(self, threads: ThreadPoolExecutor, customer: Customer, vault: ObjectVault, seen: _Seen) -> None:
        """Extend locks, and delete what they keep no longer."""
        everything = time.monotonic() >= seen.next_all
        began = time.monotonic()
        fresh = vault.take_unlocked()
        try:
            await self._extend(threads, customer, vault, list(fresh))
            for day in vault.days() if everything else ():
                found = await _in(threads, lambda day=day: [ref for ref, _ in vault.pointers(day)])
                await self._extend(threads, customer, vault, found)
        except BaseException:
            vault.to_lock(*fresh)
            raise
        await _in(threads, vault.delete_unlocked, day_of(customer.now()))
        if everything:
            seen.next_all = time.monotonic() + max(ALL_SECONDS, REST * (time.monotonic() - began))

    async def _extend(
        self, threads: ThreadPoolExecutor, customer: Customer, vault: ObjectVault, found: Sequence[PartRef]
    ) -> None:
        """Extend the locks of parts; those that have none because their call is not over are looked at again."""
        now = customer.now()
        for at in range(0, len(found), BATCH):
            some = found[at : at + BATCH]
            due = await customer.calls.retained(ref.call for ref in some)
            locked = await _in(threads, lambda some=some: [vault.pointer(ref) for ref in some])
            for ref, pointer in zip(some, locked, strict=True):
                if pointer is None:  # it was erased
                    continue
                if ref.call not in due:
                    if not pointer.locked:
                        vault.to_lock(ref)
                elif (until := lock_day(due[ref.call], now)) > pointer.locked:
                    await _in(threads, self._lock, customer, vault, ref, until)

    def _lock(self, customer: Customer, vault: ObjectVault, ref: PartRef, until: int) -> None:
        try:
            vault.lock(ref, until)
        except ObjectMissing:
            self._log.error("store.lost", customer=customer.name, call=ref.call, part=ref.part)


async def _in(threads: ThreadPoolExecutor, work: Callable[..., T], *given: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, work, *given)
