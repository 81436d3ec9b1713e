"""Write calls to the customers' databases in the background: in batches, with retries, never delaying a recording."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice

from recorder.runtime.tasks import is_set_within
from storage.calls.call_row import BadDetails, CallRow, CallState, Fresh
from storage.customer.customers import Customer
from storage.errors import DatabaseFault, SealBroken, StorageError
from storage.retention.policy import Policy, with_erase_after

FLUSH_SECONDS = 0.1
"""Changes of this time go into one transaction: a call is visible at once for a person, and cheap for the machine."""

REST = 4
"""After a transaction the indexer rests this many times as long as that took: under load the batches grow, not the
work."""

REST_SECONDS = 0.5
"""It rests at least this long: a transaction costs as much as fifty calls in it. The API shows waiting calls anyway;
the command line does not.
"""

MOST_SECONDS = 2.0
"""It never rests longer than this."""

SETTLE_SECONDS = 2.0
"""A live call waits this long for its first row: a short call is then written only once, and the API
shows it meanwhile.
"""

RETRY_SECONDS = 1.0
"""An unavailable database is retried this often."""

REFUSED_SECONDS = 60.0
"""A call that the index refused while it took others is retried this often: a try costs two transactions."""

BATCH = 200
"""Calls in one transaction at most, so that a reader never waits long."""

FEW = 10
"""Rows made before the event loop runs other tasks: a whole batch at once would take 20 ms."""


_OF_A_CALL = (BadDetails, SealBroken, DatabaseFault)
"""Errors that may concern a single call, or anything that is written if they occur with every call."""

NO_THREAD = "can't start new thread"
"""What threading says, in a RuntimeError like many others, as do sqlite's driver and the event loop."""


Entry = tuple[CallRow, tuple[str, ...]]
"""A row and the search forms of the call."""


def passes(problem: Exception) -> bool:
    """Return whether an error is not the call's fault.

    Then the database, memory, descriptors or threads are unavailable for the moment.
    """
    return isinstance(problem, StorageError | MemoryError | OSError) or (
        isinstance(problem, RuntimeError) and str(problem) == NO_THREAD
    )


@dataclass(slots=True)
class _Waiting:
    call: str
    leaf: int
    started_at: datetime
    make: Callable[[], Entry]
    live: bool
    since: float
    done: list[Callable[[], None]]
    urgent: bool = False
    made: Entry | None = None
    again: float = 0.0
    """When to retry after the index refused it, by the clock; 0.0 if it never did."""

    @property
    def entry(self) -> Entry:
        """Return what is to be written, made on first use."""
        if self.made is None:
            self.made = self.make()
        return self.made


class Indexer:
    """One queue per customer; the newest state of a call replaces an older one that still waits."""

    def __init__(self, clock: Callable[[], float], on_fault: Callable[[str, Exception], None]) -> None:
        """`on_fault` is called once with the id of each call that the index refuses, and why."""
        self._clock = clock
        self._on_fault = on_fault
        self._waiting: dict[str, dict[str, _Waiting]] = {}
        self._customers: dict[str, Customer] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._wait_for_repair: Callable[[str, float], Awaitable[bool]] = _nothing_to_repair
        self._lacks: Callable[[str], bool] = lambda _: False
        self._written_calls = 0
        self._full = False  # a batch was full: more may be waiting
        self._hurried = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None  # fires when a live call has waited long enough
        self._draining = False

    def follow_repair(self, wait: Callable[[str, float], Awaitable[bool]], lacks: Callable[[str], bool]) -> None:
        """Set the functions that know which recordings are being repaired.

        `wait` waits so many seconds until all of a customer's are indexed; `lacks` returns whether one is still to
        come.
        """
        self._wait_for_repair, self._lacks = wait, lacks

    async def repaired(self, customer: str, seconds: float) -> bool:
        """Wait until all recordings of a customer are repaired and indexed; False on a timeout."""
        return await self._wait_for_repair(customer, seconds)

    def put(
        self, customer: Customer, row: CallRow, forms: tuple[str, ...], done: Callable[[], None] | None = None
    ) -> None:
        """Queue a call; `done` is called when it is in the database."""
        live = row.state is CallState.RECORDING
        self.put_later(customer, row.id, row.leaf, row.started_at, lambda: (row, forms), live=live, done=done)

    def put_later(
        self,
        customer: Customer,
        call: str,
        leaf: int,
        started_at: datetime,
        make: Callable[[], Entry],
        *,
        live: bool,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Queue a call whose row is made when it is written or requested; for a short call, only the last row is made.

        `live`: the call may wait a little for its first row.
        """
        self._customers[customer.name] = customer
        queue = self._waiting.setdefault(customer.name, {})
        before = queue.get(call)
        entry = _Waiting(call, leaf, started_at, make, live, self._clock(), [])
        if before:
            entry.since, entry.done, entry.urgent, entry.again = before.since, before.done, before.urgent, before.again
        if done:
            entry.done.append(done)
        queue[call] = entry
        self._idle.clear()
        self._wake_when_due(self._due(entry))

    def pending(self, customer: str, call: str) -> CallRow | None:
        """Return the newest state of a call that the database does not have yet."""
        entry = self._waiting.get(customer, {}).get(call)
        return entry.entry[0] if entry else None

    async def unwritten(self, customer: Customer, call: str | None = None) -> list[Fresh]:
        """Return what the database lacks for a customer, or for one call, as it will be written.

        Call this before asking the database: what is written in between is then in both.
        """
        queue = self._waiting.get(customer.name, {})
        if not queue or not (call is None or call in queue):
            return []
        policy = await customer.rules.policy()
        queue = self._waiting.get(customer.name, {})
        some = queue.values() if call is None else filter(None, [queue.get(call)])
        return [_fresh(customer, waiting, policy) for waiting in some]

    def lacks(self, customer: str) -> bool:
        """Return whether the index lacks more of a customer than the changes of the last moment."""
        return self._lacks(customer) or any(w.again for w in self._waiting.get(customer, {}).values())

    async def hurry(self, customer: str, call: str, seconds: float) -> bool:
        """Write what waits for a call now; False if the database does not take it in time."""
        entry = self._waiting.get(customer, {}).get(call)
        if entry is None:
            return True
        written = asyncio.Event()
        entry.urgent = True
        entry.done.append(written.set)
        self._wake.set()
        self._hurried.set()
        return await is_set_within(written, seconds)

    async def hurry_all(self, customer: str, seconds: float) -> bool:
        """Write everything that the index lacks for a customer now; False on a timeout."""
        waiting = [self.hurry(customer, call, seconds) for call in self._waiting.get(customer, {})]
        return all(await asyncio.gather(self.repaired(customer, seconds), *waiting))

    def oldest(self) -> float:
        """Return the age in seconds of the oldest change that is not indexed; callable from any thread."""
        since = [w.since for q in list(self._waiting.values()) for w in list(q.values())]
        return max(0.0, self._clock() - min(since)) if since else 0.0

    async def drain(self, timeout: float) -> None:
        """Wait until only refused calls wait, at most `timeout` seconds; from now on nothing is delayed."""
        self._draining = True
        self._wake.set()
        self._hurried.set()
        await is_set_within(self._idle, timeout)

    async def run(self) -> None:
        """Write for ever; owned by recorder.runtime.tasks."""
        rest = 0.0
        while True:
            await self._wake.wait()
            await self._rest(max(FLUSH_SECONDS, min(MOST_SECONDS, rest)))
            self._wake.clear()
            begun, before, self._full = self._clock(), self._written_calls, False
            done = [await self._flush(name) for name in list(self._waiting)]
            took, written = self._clock() - begun, self._written_calls - before
            # keeps every queue bounded
            rest = took if self._full else max(REST * took, REST_SECONDS if written else 0.0)
            if not all(done):
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()
                continue
            waiting = [w for q in self._waiting.values() for w in q.values()]
            if waiting:
                self._wake_when_due(min(map(self._due, waiting)))
            if all(w.again for w in waiting):
                self._idle.set()

    async def note(self, customer: Customer, moment: int) -> int:
        """Tell the other nodes until when the calls of this one are indexed, and return it; 0 if that is not known.

        `moment`: the time of the database, read before. Raises StorageError.
        """
        if customer.indexed is None or self._lacks(customer.name):
            return 0
        age = self._age(customer.name, ())
        async with customer.database.beside() as connection:
            compare = customer.registry.compare
            return await customer.indexed.note(connection, moment, age, alone=True, compare=compare)

    def _age(self, name: str, written: Collection[_Waiting]) -> float:
        """Return the age of the oldest change of a customer that waits and is not among those that are written."""
        gone = set(map(id, written))
        since = [w.since for w in self._waiting.get(name, {}).values() if id(w) not in gone]
        return max(0.0, self._clock() - min(since)) if since else 0.0

    def _due(self, entry: _Waiting) -> float:
        """Return when a call is to be written, by the clock; 0.0: at once."""
        settled = entry.since + SETTLE_SECONDS if entry.live and not (entry.urgent or self._draining) else 0.0
        return max(settled, entry.again)

    def _wake_when_due(self, due: float) -> None:
        """Wake `run` when some of what waits is due; each round finds the next time."""
        wait = due - self._clock()
        if wait <= 0:
            self._wake.set()
            return
        loop = asyncio.get_running_loop()
        if self._alarm is not None and self._alarm.when() <= loop.time() + wait:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_later(wait, self._on_due)

    def _on_due(self) -> None:
        self._alarm = None
        self._wake.set()

    async def _rest(self, seconds: float) -> None:
        """Let more calls come together, unless somebody waits for what is there."""
        try:
            async with asyncio.timeout(seconds):
                await self._hurried.wait()
        except TimeoutError:
            return
        if not self._draining:
            self._hurried.clear()

    async def _flush(self, name: str) -> bool:
        """Write what waits for one customer; False if the database does not take it now."""
        now = self._clock()
        batch = list(islice((w for w in self._waiting[name].values() if self._due(w) <= now), BATCH))
        self._full = self._full or len(batch) == BATCH
        try:
            if batch:
                await self._put(name, batch)
        except Exception as problem:
            if passes(problem) and not isinstance(problem, _OF_A_CALL):
                return False
            return await self._one_by_one(name, batch)
        for entry in batch:
            self._written(name, entry)
        return True

    async def _put(self, name: str, batch: list[_Waiting]) -> None:
        """Write some calls; finished ones get their retention end from the current rules."""
        customer = self._customers[name]
        entries = []
        for number, waiting in enumerate(batch):
            if number % FEW == FEW - 1:
                await asyncio.sleep(0)
            entries.append(waiting.entry)
        indexed = customer.indexed
        async with customer.database.writing() as connection:  # one for all: a transaction costs more than a call in it
            moment = await indexed.now(connection) if indexed else 0
            await customer.user_matcher.notice_in(connection)
            # All of them before the next await, because users may be loaded meanwhile.
            made = [customer.user_matcher.applied(*entry) for entry in entries]
            ended = any(row.ended_at for row, _ in made)
            policy = await customer.rules.policy_in(connection) if ended else None
            rows = [row if policy is None else with_erase_after(row, forms, policy) for row, forms in made]
            await customer.calls.put_in(connection, rows, [forms for _, forms in made])
            if indexed and not self._lacks(name):
                await indexed.note(connection, moment, self._age(name, batch))

    async def _one_by_one(self, name: str, batch: list[_Waiting]) -> bool:
        """Write what can be written of a batch, and defer the calls that make it fail.

        Return False if the database takes none.
        """
        refused: list[tuple[_Waiting, Exception]] = []
        for entry in batch:
            try:
                await self._put(name, [entry])
            except Exception as own:
                if passes(own) and not isinstance(own, _OF_A_CALL):
                    return False
                refused.append((entry, own))
            else:
                self._written(name, entry)
        none = len(refused) == len(batch) and all(isinstance(own, DatabaseFault) for _, own in refused)
        if none and not all(entry.again for entry in batch):  # those were refused while others were taken
            return False  # the failure is not theirs
        for entry, reason in refused:
            self._refuse(entry, reason)
        return True

    def _refuse(self, entry: _Waiting, problem: Exception) -> None:
        """Defer a call. It keeps waiting, so that no search claims to have found all calls of a participant."""
        refused_before, entry.again = entry.again, self._clock() + REFUSED_SECONDS
        if not refused_before:
            self._on_fault(entry.call, problem)

    def _written(self, name: str, entry: _Waiting) -> None:
        """Remove an entry, unless a newer state of its call waits."""
        self._written_calls += 1
        queue = self._waiting[name]
        if queue.get(entry.call) is entry:
            del queue[entry.call]
            for callback in entry.done:
                callback()


def _fresh(customer: Customer, waiting: _Waiting, policy: Policy) -> Fresh:
    began = waiting.started_at
    shown = began.replace(microsecond=began.microsecond // 1000 * 1000)  # as in documents, and therefore in the index
    made = partial(_as_written, customer, waiting, policy)
    return Fresh(waiting.call, waiting.leaf, shown, waiting.live, made)


def _as_written(customer: Customer, waiting: _Waiting, policy: Policy) -> Entry | None:
    """Return a call as `_put` would write it now; None if it was just erased and never will be written."""
    if not customer.keys.keeps(waiting.leaf):
        return None
    row, forms = customer.user_matcher.applied(*waiting.entry)
    row = replace(row, node=customer.keys.node)
    return with_erase_after(row, forms, policy) if row.ended_at else row, forms


async def _nothing_to_repair(_customer: str, _seconds: float) -> bool:
    """Return at once: no recordings are being repaired."""
    return True
