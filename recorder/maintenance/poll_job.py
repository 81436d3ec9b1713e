"""Look about once a second at what other nodes have changed for a customer, and wake the tasks that must act on it.

    job = PollJob(customers, tasks, log, indexer.note); tasks.start(job.run(), "poll")

Each customer has a task of its own. While nothing changes, a look costs one statement (storage.customer.poll).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from recorder.observe.logs import Log
from recorder.runtime.tasks import Tasks
from storage.customer.customers import Customer
from storage.customer.poll import Seen
from storage.database.database import DatabaseAway
from storage.database.database_clock import MICROS
from storage.nodes.indexed import until_of

LOOK_SECONDS = 0.8
"""Pause between two looks: within a second, an idle node too cuts what another has cut, and knows a new token. The rest
of the second is for the look and for the work that follows.
"""

NEAR_SECONDS = 0.1
"""Pause between two looks of a node whose erasure waits for the other nodes."""

NEAR_MOST_SECONDS = 5.0
"""NEAR_SECONDS applies for this time after the request: a node that takes longer is busy or away."""

NOTE_SECONDS = 10.0
"""How often a node notes until when its calls are indexed, if nobody waits for it."""

LOOK_FOR_OTHERS_SECONDS = 2.0
"""After this time a node takes up erasures that another node was asked for and has not finished."""

SOON_SECONDS = 0.01
"""Added to the pause before a note that somebody waits for, so that it is certainly late enough."""

_EVERYWHERE = (True, 0)
"""The progress of erasures that are done on all nodes: all calls indexed, nothing left to remove."""

Note = Callable[[Customer, int], Awaitable[int]]
"""Notes until when the calls of a customer are indexed, given the database's time a moment ago; returns that."""


@dataclass(slots=True)
class _Known:
    """What one customer's task remembers."""

    noted: int = 0
    """Time of the last note, by the clock of the database."""
    until: int = 0
    """What the last note said: until when calls are indexed."""
    take_up: float | None = None
    """When this node takes up an open erasure, by the clock of the loop; None: none is open."""
    progress: tuple[bool, int] = (False, 0)
    """How far the erasures had come among the nodes: whether all calls were indexed, and the oldest unfinished line."""


class PollJob:
    """Polls the database of every customer."""

    def __init__(self, customers: Mapping[str, Customer], tasks: Tasks, log: Log, note: Note) -> None:
        self._customers = customers
        self._tasks = tasks
        self._log = log
        self._note = note

    async def run(self) -> None:
        """Start the work for every customer; owned by recorder.runtime.tasks."""
        for customer in self._customers.values():
            self.begin(customer)

    def begin(self, customer: Customer) -> None:
        """Start the task of one customer, who may have been away when the others started."""
        self._tasks.start(self._serve(customer), "poll")

    async def _serve(self, customer: Customer) -> None:
        known, well = _Known(), True
        while True:
            pause = LOOK_SECONDS
            try:
                if customer.served:
                    pause = await self._look(customer, known)
            except DatabaseAway:  # reported by the tasks that need the database
                pass
            except Exception as problem:  # without this task this node would follow the others once a minute
                if well:
                    self._log.fault("holder.failed", problem, customer=customer.name)
                well = False
            else:
                well = True
            await asyncio.sleep(pause)

    async def _look(self, customer: Customer, known: _Known) -> float:
        """Look once; return the seconds until the next look."""
        seen = await customer.poll.look()
        holder, shared = customer.holder, customer.shared
        if holder is not None and not holder.is_idle(seen.change_mark):
            holder.wanted.set()
        if shared is not None and not shared.documents.current(seen.versions):
            shared.wanted.set()
        self._take_up(customer, seen, known)
        await self._note_indexed(customer, seen, known)
        if seen.open and customer.erasures.soon and seen.now - seen.asked < NEAR_MOST_SECONDS * MICROS:
            return NEAR_SECONDS
        if known.until <= seen.asked and (early := seen.asked - until_of(seen.now, 0.0)) >= 0:
            return min(LOOK_SECONDS, early / MICROS + SOON_SECONDS)
        return LOOK_SECONDS

    def _take_up(self, customer: Customer, seen: Seen, known: _Known) -> None:
        """Wake the erasures: another node's after a while, this node's own as soon as the other nodes have got on."""
        now = asyncio.get_running_loop().time()
        progress = seen.indexed > seen.asked, seen.unfinished
        advanced = customer.erasures.soon and (progress != known.progress or progress == _EVERYWHERE)
        if not seen.open:
            known.take_up = None
        elif known.take_up is None:
            known.take_up = now + LOOK_FOR_OTHERS_SECONDS
        elif now >= known.take_up or advanced:
            known.take_up = now + LOOK_FOR_OTHERS_SECONDS
            customer.erasures.wanted.set()
        known.progress = progress

    async def _note_indexed(self, customer: Customer, seen: Seen, known: _Known) -> None:
        """Note until when this node's calls are indexed, if somebody waits for that, or after NOTE_SECONDS."""
        if until_of(seen.now, 0.0) > seen.asked >= known.until or seen.now - known.noted >= NOTE_SECONDS * MICROS:
            known.noted, known.until = seen.now, await self._note(customer, seen.now)
