"""Upload finished parts to the object store, and remove local copies that the store has had for long enough.

    jobs = jobs_of(settings, customers, …)        one for each object store
    for job in jobs: tasks.start(job.run(), "uploads")

The disk shows what waits: finished parts without a pointer (storage.vault.object_vault). So nobody has to notify this
job, nothing is forgotten if the process is killed, and no call waits for it. It has few threads, of low priority. A
store that is away is tried again at growing intervals; meanwhile everything stays on the disk.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from recorder.config.model import Settings
from recorder.maintenance.lock_job import lock_day, why_away
from recorder.observe.logs import Log
from recorder.observe.metrics import Metrics
from recorder.persist.object_store import configured_store
from storage.batches import batches
from storage.customer.customers import Customer
from storage.errors import StorageError, StoreAway
from storage.keys.key_tree import day_of
from storage.objects.probe import probe, usable
from storage.objects.s3 import S3
from storage.vault.group_sync import Syncer
from storage.vault.object_vault import ObjectVault
from storage.vault.parts import PartRef

AT_ONCE = 2
"""Threads. One uploads some 100 MB/s; a thousand calls in G.711 make 16 MB/s."""

NICE = 10
"""Priority of the threads below that of everything that records."""

LOOK_SECONDS = 1.0
"""Pause between two looks for new parts; a look at a folder that has not changed is one `stat`."""

REST = 20
"""The pause is at least this many times the processor time of the look: a day's folder may have 300,000 parts."""

RELEASE_SECONDS = 60.0
"""Pause between two looks for local copies that may be removed."""

TRIES = 3
"""Parts that may fail in one round: then the store counts as away. A single bad part delays no other."""

AGAIN_SECONDS = 600.0
"""Pause before another try of a part that failed while the store took other parts."""

DATE_SECONDS = 30.0
"""With locks, how long a part waits until the end of its retention is known; then it is uploaded, and locked later."""

MOST = 2_000
"""Parts of a customer that one look queues for upload; the next look finds the others."""

BATCH = 200
"""Local copies whose calls are looked up in the index together."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a store that is away is tried again: doubled each time, less up to a fifth at random."""

T = TypeVar("T")


@dataclass(slots=True)
class _Watched:
    """What was seen of one customer's vault."""

    days: dict[int, int] = field(default_factory=dict)  # day → when its folder had changed, if no part of it waited
    waiting: dict[int, int] = field(default_factory=dict)  # day → parts that waited at the last look


def jobs_of(
    settings: Settings, customers: Mapping[str, Customer], syncer: Syncer, log: Log, metrics: Metrics
) -> list[UploadJob]:
    """Return a job for each object store to which recordings go; the metric counts the waiting parts of all."""
    uploading: dict[S3, dict[str, int]] = {}
    for each in settings.customers:
        storage = settings.storage_of(each)
        store = configured_store(settings, each)
        if store is not None and storage.media == "s3":
            uploading.setdefault(store, {})[each.name] = storage.keep_local.seconds * 1_000_000_000
    several = settings.node.number > 0
    jobs = [UploadJob(customers, syncer, log, store, keep_ns, several=several) for store, keep_ns in uploading.items()]
    metrics.watch(metrics.parts_waiting, lambda: sum(job.waiting() for job in jobs))
    return jobs


class UploadJob:
    """Uploads for all customers of one object store."""

    def __init__(
        self,
        customers: Mapping[str, Customer],
        syncer: Syncer,
        log: Log,
        store: S3,
        keep_ns: Mapping[str, int],
        *,
        several: bool = False,
    ) -> None:
        """`keep_ns`: for each customer by name, the nanoseconds for which a part stays on the disk after its upload.

        `several`: this is one of several nodes.
        """
        self._customers = customers
        self._syncer = syncer
        self._log = log
        self._several = several
        self._keep_ns = keep_ns
        self._store = store
        self._seen: dict[str, _Watched] = {}
        self._pause = 0.0
        self._away = ""  # the class of the failure that was logged last; "" while the store works
        self._refused: set[str] = set()  # files of parts whose upload failed last time
        self._later: dict[str, float] = {}  # parts that failed while the store took others → when to try them again
        self._next_release = 0.0
        self._looked = 0.0  # s of processor time that the last look took

    async def run(self) -> None:
        """Upload for ever; owned by recorder.runtime.tasks."""
        threads = ThreadPoolExecutor(AT_ONCE, "upload", _step_back)
        try:
            while True:
                try:
                    await self._turn(threads, self._store)
                except Exception as problem:  # if this task ended, nothing would be uploaded any more
                    self._failed(problem)
                await asyncio.sleep(max(LOOK_SECONDS, self._pause, min(REST * self._looked, LONGEST_PAUSE)))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def waiting(self) -> float:
        """Return how many finished parts are only on this machine."""
        return float(sum(sum(seen.waiting.values()) for seen in self._seen.values()))

    async def _turn(self, threads: ThreadPoolExecutor, store: S3) -> None:
        """Look once at every customer, and upload what waits."""
        vaults = [
            (customer, customer.vault)
            for customer in self._customers.values()
            if customer.name in self._keep_ns and isinstance(customer.vault, ObjectVault)
        ]
        self._looked, found = 0.0, list[tuple[ObjectVault, PartRef]]()
        for customer, vault in vaults:
            found += [(vault, ref) for ref in await _in(threads, self._look, customer, vault)]
        if store.features is None:
            await self._try(threads, store)
        if store.features is None:
            return
        if found and self._several:
            found = await self._of_level(vaults, found)
        if found:
            await asyncio.wrap_future(self._syncer.wait([]))  # only what is durable here is uploaded
            await self._upload(threads, await self._dated(found) if store.locks else [(*each, 0) for each in found])
        if time.monotonic() >= self._next_release:
            self._next_release = time.monotonic() + min(RELEASE_SECONDS, min(self._keep_ns.values()) / 1e9)
            for customer, vault in vaults:
                if customer.served:
                    await self._release(threads, customer, vault)

    async def _of_level(
        self, vaults: Sequence[tuple[Customer, ObjectVault]], found: Sequence[tuple[ObjectVault, PartRef]]
    ) -> list[tuple[ObjectVault, PartRef]]:
        """Return the parts that this node may upload: those of customers for whom it has cut what the others have."""
        level = set[str]()
        for customer, vault in vaults:
            if customer.served and customer.holder is not None and any(each[0] is vault for each in found):
                with suppress(StorageError):
                    if await customer.holder.is_level():
                        level.add(vault.customer)
        return [each for each in found if each[0].customer in level]

    async def _try(self, threads: ThreadPoolExecutor, store: S3) -> None:
        """Probe the store, and trust it with recordings if it can do what is needed."""
        locks = store.settings.lock
        features = await _in(threads, lambda: probe(store, lock=bool(locks)))
        if usable(features, locks):
            store.trust(features)
            self._log.info("store.ready")
            self._well()
        else:
            self._pause = LONGEST_PAUSE
            self._log.error("store.unusable", hint="Run recorder store check; recordings stay in data_dir meanwhile.")

    def _look(self, customer: Customer, vault: ObjectVault) -> list[PartRef]:
        """Return the parts of a customer that wait for their upload; list a day only if its folder may have changed."""
        began, found = time.thread_time(), list[PartRef]()
        seen = self._seen.setdefault(customer.name, _Watched())
        vault.begin()
        for day in vault.days():
            changed = vault.changed(day)
            if seen.days.get(day) == changed:
                continue
            count, waiting = vault.waiting_of(day, max(0, MOST - len(found)))
            seen.waiting[day] = count
            if count or time.time_ns() - changed < 2_000_000_000:  # two changes may have the same time
                seen.days.pop(day, None)
            else:
                seen.days[day] = changed
            found += waiting
        for day in set(seen.waiting) - set(vault.days()):
            del seen.waiting[day]
        self._looked += time.thread_time() - began
        return found

    async def _dated(self, found: Sequence[tuple[ObjectVault, PartRef]]) -> list[tuple[ObjectVault, PartRef, int]]:
        """Return the parts, each with the day on which its lock ends, 0 for none.

        Leave out parts that were written just now and have no date yet.
        """
        dated: list[tuple[ObjectVault, PartRef, int]] = []
        by_customer: dict[str, list[tuple[ObjectVault, PartRef]]] = {}
        for vault, ref in found:
            by_customer.setdefault(vault.customer, []).append((vault, ref))
        for name, some in by_customer.items():
            customer = self._customers[name]
            due: dict[str, datetime | None] = {}
            if customer.served:
                with suppress(StorageError):
                    due = await customer.calls.retained(ref.call for _, ref in some)
            now = customer.now()
            for vault, ref in some:
                if ref.call in due:
                    dated.append((vault, ref, lock_day(due[ref.call], now)))
                elif _age(ref) > DATE_SECONDS:  # its call may be live, or the database away: it is locked later
                    dated.append((vault, ref, 0))
        return dated

    async def _upload(self, threads: ThreadPoolExecutor, found: Sequence[tuple[ObjectVault, PartRef, int]]) -> None:
        """Upload parts, AT_ONCE at a time, until TRIES of them have failed; the failed ones come last the next time."""
        now = time.monotonic()
        due = [each for each in found if self._later.get(each[1].path.name, now) <= now]
        left = deque(sorted(due, key=lambda each: each[1].path.name in self._refused))  # stable: the oldest first
        problems: list[tuple[PartRef, Exception]] = []
        lock = threading.Lock()
        done = 0

        def work() -> None:
            nonlocal done
            while True:
                with lock:
                    if not left or len(problems) >= TRIES:
                        return
                    vault, ref, until = left.popleft()
                try:
                    vault.upload(ref, until)
                except Exception as problem:
                    problems.append((ref, problem))
                else:
                    with lock:
                        done += 1
                        self._seen[vault.customer].waiting[day_of(ref.leaf)] -= 1

        await asyncio.gather(*(_in(threads, work) for _ in range(AT_ONCE)))
        if done:
            self._well()
        elif fresh := [problem for ref, problem in problems if ref.path.name not in self._later]:
            self._failed(fresh[0])
        waiting = {ref.path.name for _, ref, _ in found}
        self._refused &= waiting
        self._later = {name: when for name, when in self._later.items() if name in waiting}
        for ref, problem in problems:
            name = ref.path.name
            if done and name not in self._later:  # the store takes others, so it is this part
                self._log.fault("store.failed", problem, call=ref.call)
            if done or name in self._later:
                self._later[name] = now + AGAIN_SECONDS
            self._refused.add(name)

    async def _release(self, threads: ThreadPoolExecutor, customer: Customer, vault: ObjectVault) -> None:
        """Remove local copies that the store has had for long enough, of calls that are finished in the index."""
        due = await _in(threads, lambda: list(vault.stored(time.time_ns() - self._keep_ns[customer.name])))
        for some in batches(due, BATCH):
            calls = {(ref.call, ref.leaf) for ref in some}
            unknown = set(await customer.calls.unknown(calls))
            unfinished = {call for call, _ in await customer.calls.unfinished()}
            for ref in some:
                if (ref.call, ref.leaf) not in unknown and ref.call not in unfinished:
                    await _in(threads, self._let_go, customer, vault, ref)

    def _let_go(self, customer: Customer, vault: ObjectVault, ref: PartRef) -> None:
        if not vault.release(ref):
            self._seen.pop(customer.name, None)  # it waits again
            self._log.error("store.lost", customer=customer.name, call=ref.call, part=ref.part)

    def _failed(self, problem: Exception) -> None:
        """Log the first of several failures, and double the pause before the next try."""
        longer = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        self._pause = longer * (1 - random.random() / 5)  # noqa: S311 - it keeps recorders apart and guards nothing
        if self._away == type(problem).__name__:
            return
        self._away = type(problem).__name__
        if isinstance(problem, StoreAway):
            self._log.error("store.away", reason=why_away(problem), hint=problem.hint)
        else:
            self._log.fault("store.failed", problem)

    def _well(self) -> None:
        self._pause = 0.0
        if self._away:
            self._away = ""
            self._log.info("store.back")


async def _in(threads: ThreadPoolExecutor, work: Callable[..., T], *given: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, work, *given)


def _age(ref: PartRef) -> float:
    """Return the seconds since a part was last written; a part that is gone counts as old."""
    try:
        return time.time() - ref.path.lstat().st_mtime
    except OSError:
        return DATE_SECONDS * 2


def _step_back() -> None:
    """Lower the priority of this thread, and of those that it starts."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
