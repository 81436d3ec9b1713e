"""The disk under the vault as the loop may use it: through a thread, which is waited for a moment only.

A healthy disk takes a write in some ten microseconds, and whoever asked has what came of it when the call returns. One
that stands still keeps whoever writes for seconds, and no signal ends that. The loop must not be the one that is kept:
it gives a work up after GIVE_UP_SECONDS and asks for nothing more until all that was begun has ended. Nothing begun is
taken back: it is done when the disk allows, and `late`, in the thread too, is told what came of it.

While `away` is false the thread is idle, so what works and the loop share needs no lock.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from recorder.errors import NotPossible

GIVE_UP_SECONDS = 0.1
"""How long the loop waits for the disk: half of what an INVITE may wait for its refusal."""

GATHER_SECONDS = 0.02
"""So long works that nobody waits for at once may join one trip to the thread: waking it, and the loop again, costs the
daemon more than most works."""

TRIP_SECONDS = GIVE_UP_SECONDS / 4
"""After so long no further work of those that joined is begun in a trip: many that are fast are no disk that stands
still, and the loop sees to others in between."""

STARVED_SECONDS = 1.0
"""How long it waits if the thread could work and is not let: a busy machine is no disk that stands still."""

END_SECONDS = 2.0
"""How long the end of the process waits for works that were begun."""

T = TypeVar("T")


class DiskAway(NotPossible):
    """The disk does not answer: nothing was lost, and it is tried again when it does."""

    def __init__(self) -> None:
        super().__init__("The disk does not answer.", "Look at the kernel log and what else uses the disk.")


class Work(Generic[T]):
    """Something that the disk was asked to do."""

    __slots__ = ("_do", "_error", "_result", "ended", "late", "over")

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._result: T | None = None
        self._error: BaseException | None = None
        self.late: Callable[[Work[T]], None] | None = None  # who is told once nobody waits any more
        self.over = False
        self.ended = threading.Lock()
        self.ended.acquire()

    def run(self) -> None:
        """Do it; for the thread."""
        try:
            self._result = self._do()
        except BaseException as error:  # whoever asked gets it
            self._error = error

    def outcome(self) -> T:
        """Return what came of it, or raise what went wrong; only once it is over."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # of the type that the work returned


class Disk:
    """One thread, which works in the order it is asked."""

    def __init__(self, report: Callable[[Exception], None], patience: float = GIVE_UP_SECONDS) -> None:
        """`report` is told, in the thread, what went wrong where nobody waited any more."""
        self._report = report
        self._give_up_seconds = patience
        self._asked: SimpleQueue[Work[Any] | None] = SimpleQueue()
        self._turn = threading.Lock()
        self._joining: list[tuple[Callable[[], None], asyncio.Future[None]]] = []  # they share the next trip
        self._owed = 0  # works that were given up and have not ended
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    @property
    def away(self) -> bool:
        """Tell whether something was begun that the disk has not ended in time."""
        return self._owed > 0

    def within(self, do: Callable[[], T], late: Callable[[T], None] | None = None) -> T:
        """Do something; raise DiskAway if the disk does not end it in time, or if it is away and nothing is begun.

        What was begun is done all the same, and `late` gets the result if it is good.
        """
        if self.away:
            raise DiskAway
        work = self.begin(do, (lambda ended: late(ended.outcome())) if late else None)
        if not work.over:
            raise DiskAway
        return work.outcome()

    async def patiently(self, do: Callable[[], T]) -> T:
        """Do something however long the disk takes; the loop waits for it no longer than for anything else."""
        loop = asyncio.get_running_loop()
        waking: asyncio.Future[None] = loop.create_future()

        def wake(_: Work[T]) -> None:
            with suppress(RuntimeError):  # the loop has closed, and nobody is left who waits
                loop.call_soon_threadsafe(_settle, waking)

        work = self.begin(do, wake)
        if not work.over:
            await waking
        return work.outcome()

    def together(self, do: Callable[[], None]) -> asyncio.Future[None]:
        """Do something with whatever else is asked for in the same moment, in as few trips of the thread as it takes.

        Each ends, well or not, for itself; the loop waits for none of them.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._joining:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._set_out)
        self._joining.append((do, future))
        return future

    def _set_out(self) -> None:
        loop, joining = asyncio.get_running_loop(), self._joining
        self._joining = []

        def work() -> list[Exception | None]:
            until, done = time.monotonic() + TRIP_SECONDS, list[Exception | None]()
            for do, _ in joining:
                if done and time.monotonic() >= until:
                    break
                done.append(_tried(do))
            return done

        def tell(work: Work[list[Exception | None]]) -> None:
            with suppress(RuntimeError):  # the loop has closed, and nobody is left who waits
                loop.call_soon_threadsafe(arrive, work)

        def arrive(work: Work[list[Exception | None]]) -> None:
            done = work.outcome()
            self._join(joining[len(done) :])
            for (_, future), problem in zip(joining, done, strict=False):
                if future.done():
                    continue  # its call was given up meanwhile
                if problem is None:
                    future.set_result(None)
                else:
                    future.set_exception(problem)

        begun = self.begin(work, tell)
        if begun.over:
            arrive(begun)

    def _join(self, rest: list[tuple[Callable[[], None], asyncio.Future[None]]]) -> None:
        """Have what a trip did not come to go first in the next one."""
        if rest and not self._joining:
            asyncio.get_running_loop().call_soon(self._set_out)
        self._joining = [*rest, *self._joining]

    def begin(self, do: Callable[[], T], late: Callable[[Work[T]], None] | None = None) -> Work[T]:
        """Do something and wait a moment for it; what is not `over` then is told to `late` in the thread."""
        work = Work(do)
        waiting = not self.away
        self._asked.put(work)
        if not (waiting and self._ended(work)):
            with self._turn:
                if not work.over:
                    work.late = late or _check
                    self._owed += 1
        return work

    def close(self) -> None:
        """Let the thread end after what it was asked; a disk that stands still keeps nobody from ending."""
        self._asked.put(None)
        self._thread.join(END_SECONDS)

    def _ended(self, work: Work[Any]) -> bool:
        if work.ended.acquire(timeout=self._give_up_seconds):
            return True
        return self._starved() and work.ended.acquire(timeout=STARVED_SECONDS)

    def _starved(self) -> bool:
        """Tell whether the thread waits for a processor, not for the disk (proc(5): R)."""
        try:
            stat = Path(f"/proc/self/task/{self._thread.native_id}/stat").read_text("ascii", "replace")
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[:1] == ["R"]

    def _run(self) -> None:
        while (work := self._asked.get()) is not None:
            work.run()
            with self._turn:
                work.over = True
                late = work.late
            work.ended.release()
            if late is None:
                continue
            try:
                late(work)
            except Exception as problem:  # the next work must not wait for ever
                self._report(problem)
            with self._turn:
                self._owed -= 1


def _check(work: Work[Any]) -> None:
    work.outcome()


def _tried(do: Callable[[], None]) -> Exception | None:
    """Do something and return what went wrong; for the thread."""
    try:
        do()
    except Exception as problem:  # whoever asked gets it
        return problem
    return None


def _settle(waking: asyncio.Future[None]) -> None:
    if not waking.done():
        waking.set_result(None)
