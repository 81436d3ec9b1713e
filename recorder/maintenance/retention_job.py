"""Carry out erasures, at start and whenever one is open; apply retention, at start and with every sweep.

    job = RetentionJob(customers, tasks, log, incidents, metrics, settings, stopper(live, executor, flush))
    tasks.start(job.run(), "retention")

Each customer has a task of its own, so an unavailable database delays no other customer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from math import nan

from recorder.calls.databases import open_databases
from recorder.calls.executor import Executor
from recorder.calls.registry import Live
from recorder.config.model import Settings
from recorder.observe.incidents import Incidents
from recorder.observe.logs import Log
from recorder.observe.metrics import Metrics
from recorder.runtime.tasks import Tasks, is_set_within
from recorder.runtime.trusted_clock import WallClock, readings
from recorder.session.events import StopAsked
from storage.access.actor import RECORDER
from storage.audit.hash_chain import Act
from storage.customer.customers import Customer
from storage.erasure.erasures import StopLive
from storage.journal.compaction import compact
from storage.retention.sweep import Swept
from storage.turns import Turn

RETRY_SECONDS = 2.0
"""An erasure that a full disk, an unavailable database or a live call prevented is retried this often."""

STOP_SECONDS = 15.0
"""A live call that has not ended by then is asked again: sealing its media may take 10 s."""

LOOK_SECONDS = 0.02


class RetentionJob:
    """Erases what was requested and what is due."""

    def __init__(
        self, customers: Mapping[str, Customer], tasks: Tasks, log: Log, incidents: Incidents, metrics: Metrics,
        settings: Settings, stop_live: StopLive | None = None, clock: WallClock | None = None,
    ) -> None:  # fmt: skip
        self._customers = customers
        self._tasks = tasks
        self._log = log
        self._incidents = incidents
        self._metrics = metrics
        self._swept: dict[str, float] = {}
        """When each customer was swept; at first, when its work began (time of the loop)."""
        self._clock_differs: set[str] = set()  # customers whose database has another time than this node
        self._settings = settings.retention
        self._stop_live = stop_live
        self._clock = clock or WallClock.of(settings.node.runtime_dir)

    async def run(self) -> None:
        """Start the work for every customer; owned by recorder.runtime.tasks."""
        try:
            self._clock.keep()
        except OSError as problem:  # it only means that a restart trusts the wall clock again
            self._log.fault("retention.failed", problem)
        loop = asyncio.get_running_loop()
        self._metrics.watch(self._metrics.retention_age, lambda: loop.time() - min(self._swept.values(), default=nan))
        for customer in self._customers.values():
            self.begin(customer)

    def begin(self, customer: Customer) -> None:
        """Start the work for one customer, which may have been away when the others were begun."""
        self._tasks.start(self._serve(customer), "retention")

    async def _serve(self, customer: Customer) -> None:
        """Run for ever: erase, sweep when due, refresh after a change of rules, then wait."""
        loop = asyncio.get_running_loop()
        self._swept[customer.name] = loop.time()
        await open_databases(customer)
        stale = True
        next_sweep = loop.time()

        def changed() -> None:
            nonlocal stale
            stale = True
            customer.erasures.wanted.set()

        customer.rules.on_change(changed)
        while True:
            well = await self._guarded(self._work, customer)
            if loop.time() >= next_sweep:
                swept = await self._guarded(self._sweep, customer)
                await self._guarded(self._compact, customer)
                pause = self._settings.sweep_seconds if swept else RETRY_SECONDS
                next_sweep = loop.time() + pause
                continue  # what the sweep filed is erased now
            if stale:
                stale = False  # rules that change from here on trigger another refresh
                if not await self._guarded(self._refresh, customer):
                    stale = True
            pause = next_sweep - loop.time()
            await is_set_within(customer.erasures.wanted, pause if well and not stale else min(pause, RETRY_SECONDS))

    async def _guarded(self, work: Callable[[Customer], Awaitable[bool]], customer: Customer) -> bool:
        """Do one step; a failure is logged and retried, never taken for success."""
        try:
            return await work(customer)
        except Exception as problem:  # without this task nothing of the customer would be erased any more
            self._log.fault("retention.failed", problem, customer=customer.name)
            return False

    async def _work(self, customer: Customer) -> bool:
        """Carry out open erasures, unless another node has the turn; each node ends its own live calls in its turn."""
        if customer.several:
            customer.erasures.wanted.clear()  # as `work` does, which is not called if nothing is open
            if not await customer.erasures.any_open():
                return True
        async with customer.turns.turn("erasures") as turn:
            return turn is not None and await self._carry_out(customer)

    async def _carry_out(self, customer: Customer) -> bool:
        before = customer.erasures.erased
        try:
            return await customer.erasures.work(self._stop_live)
        finally:
            self._metrics.erased.inc(customer.erasures.erased - before)

    async def _sweep(self, customer: Customer) -> bool:
        """Sweep, unless another node did so lately; return False if it should be tried again soon."""
        if not await self._clocks_agree(customer):  # before it has the turn: each node says so of its own clock
            return False
        async with customer.turns.turn("retention") as turn:
            if turn is None:
                self._swept[customer.name] = asyncio.get_running_loop().time()
                return True
            await self._end_lost(customer)
            await self._file(customer, turn)
            turn.rest = self._settings.sweep_seconds
        return True

    async def _end_lost(self, customer: Customer) -> None:
        """End the calls that were live on a node when it was retired."""
        if customer.several:
            from storage.nodes import lost_calls  # only where there are several

            if count := await lost_calls.end(customer.database):
                self._log.warning("calls.lost", customer=customer.name, count=count)
                await customer.retention.refresh()

    async def _clocks_agree(self, customer: Customer) -> bool:
        """Return whether the clocks of this node and the database agree, so that all nodes find the same calls due."""
        if not customer.several:
            return True
        from storage.nodes.leases import agrees  # only where there are several

        well = await agrees(customer.database, self.now())
        if not well and customer.name not in self._clock_differs:
            hint = (
                "This node erases nothing by retention until its clock and that of the database agree within 60 s: "
                "timedatectl set-ntp true; if it started with a wrong clock, restart its machine too."
            )
            self._log.error("retention.clock", customer=customer.name, hint=hint)
        (self._clock_differs.discard if well else self._clock_differs.add)(customer.name)
        return well

    async def _file(self, customer: Customer, turn: Turn) -> None:
        swept = await customer.retention.sweep(self.now(), self._settings.brake_percent, turn.still)
        self._swept[customer.name] = asyncio.get_running_loop().time()
        if swept.asked or swept.filed:
            await self._tell(customer, swept)

    async def _compact(self, customer: Customer) -> bool:
        """Compact the journal when most of it is obsolete."""
        before = customer.journal.size
        if await compact(customer.journal, customer.database):
            self._log.info("journal.compacted", customer=customer.name, bytes=before - customer.journal.size)
        return True

    async def _refresh(self, customer: Customer) -> bool:
        async with customer.turns.turn("refresh") as turn:
            if turn is not None:
                await customer.retention.refresh()
        return turn is not None

    async def _tell(self, customer: Customer, swept: Swept) -> None:
        """Record in audit log, log and incidents what a sweep found."""
        kind = "retention.brake" if swept.asked else "retention.sweep"
        for id in [swept.asked] if swept.asked else swept.filed:
            act = Act.of(RECORDER, "system", kind, id or "", "done", f"{swept.due} calls are due")
            await asyncio.wrap_future(customer.audit.append(act))
        self._log.info(kind, customer=customer.name, calls=swept.due)
        if swept.asked:
            self._incidents.add("retention-brake", customer.name, erasure=swept.asked, calls=swept.due)

    def now(self) -> datetime:
        """Return the time that retention uses."""
        return self._clock.read(*readings())


def stopper(live: Live, executor: Executor) -> StopLive:
    """Return a function that ends a live call that is to be erased: hang up, seal, and wait until nothing of it is
    being written.
    """

    async def stop_live(call: str) -> None:
        found = live.by_id(call)
        if found is None:
            return
        executor.guarded(found, StopAsked("erased", interrupted=False))
        executor.flush()
        async with asyncio.timeout(STOP_SECONDS):
            while live.by_id(call) is not None:  # noqa: ASYNC110 - a call ends in many places, none of which reports it
                await asyncio.sleep(LOOK_SECONDS)

    return stop_live
