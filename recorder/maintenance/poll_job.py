"""Look once a second at what the other nodes of a customer have changed, and wake who has to act on it.

    job = PollJob(customers, tasks, log, node.indexer.note); tasks.start(job.run(), "poll")

Each customer has a task of its own. A quiet one costs one statement a look (storage.customer.poll).
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
"""What one node cuts, no other opens after a second, even if nobody asks for anything there, and a token counts
everywhere: a second less the time of a look and of what follows from it.
"""

NEAR_SECONDS = 0.1
"""A node that waits for others to cut what it erases looks this often."""

NEAR_MOST_SECONDS = 5.0
"""But only so long after the request: a node that takes longer is busy or away."""

NOTE_SECONDS = 10.0
"""Until when the calls of a node are indexed is noted this often if nobody waits for it."""

LOOK_FOR_OTHERS_SECONDS = 2.0
"""What other nodes were asked for, and have not carried out, is taken up after this time."""

SOON_SECONDS = 0.01
"""So long after a note would say enough it is made."""

_EVERYWHERE = (True, 0)
"""The calls of all nodes are indexed, and nothing of what was cut is left to remove."""

Note = Callable[[Customer, int], Awaitable[int]]
"""Notes and returns until when the calls of a customer are indexed, given the time of the database a moment ago."""


@dataclass(slots=True)
class _Known:
    """What one customer's task remembers."""

    noted: int = 0
    """The moment of the last note, by the clock of the database."""
    until: int = 0
    """What it said: until when calls are indexed."""
    take_up: float | None = None
    """When an erasure that is open is looked at here, by the clock of the loop; None: there is none."""
    came: tuple[bool, int] = (False, 0)
    """How far the erasures have come among the nodes."""


class PollJob:
    """Looks for every customer."""

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
        """Start the work for one customer, who may have been away when the others were begun."""
        self._tasks.start(self._serve(customer), "poll")

    async def _serve(self, customer: Customer) -> None:
        known, well = _Known(), True
        while True:
            pause = LOOK_SECONDS
            try:
                if customer.served:
                    pause = await self._look(customer, known)
            except DatabaseAway:  # whoever needs it reports that
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
        await self._say(customer, seen, known)
        if seen.open and customer.erasures.soon and seen.now - seen.asked < NEAR_MOST_SECONDS * MICROS:
            return NEAR_SECONDS
        if known.until <= seen.asked and (early := seen.asked - until_of(seen.now, 0.0)) >= 0:
            return min(LOOK_SECONDS, early / MICROS + SOON_SECONDS)
        return LOOK_SECONDS

    def _take_up(self, customer: Customer, seen: Seen, known: _Known) -> None:
        """Let erasures go on that are another node's and lie still, or that this node waits with for others."""
        now = asyncio.get_running_loop().time()
        came = seen.indexed > seen.asked, seen.unfinished
        on = customer.erasures.soon and (came != known.came or came == _EVERYWHERE)
        if not seen.open:
            known.take_up = None
        elif known.take_up is None:
            known.take_up = now + LOOK_FOR_OTHERS_SECONDS
        elif now >= known.take_up or on:
            known.take_up = now + LOOK_FOR_OTHERS_SECONDS
            customer.erasures.wanted.set()
        known.came = came

    async def _say(self, customer: Customer, seen: Seen, known: _Known) -> None:
        """Note until when calls are indexed, if somebody waits for it, or after a while."""
        if until_of(seen.now, 0.0) > seen.asked >= known.until or seen.now - known.noted >= NOTE_SECONDS * MICROS:
            known.noted, known.until = seen.now, await self._note(customer, seen.now)
