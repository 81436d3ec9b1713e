"""Use the disk under the vault from the event loop: through a thread, which the loop waits for only briefly.

A healthy disk takes a write in some ten microseconds, and the caller has the result when the call returns. A disk that
hangs blocks the writer for seconds, and no signal ends that. The loop must not be blocked: it stops waiting after
GIVE_UP_SECONDS and submits nothing more until everything that was begun has ended. What was begun is not undone: it is
done when the disk allows, and `late` gets the result, also in the thread.

While `away` is false the thread is idle, so what the work and the loop share needs no lock.
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
"""How long the loop waits for the disk: half the time an INVITE may wait for its refusal."""

GATHER_SECONDS = 0.02
"""How long work that nobody waits for is collected, so that several pieces share one trip to the thread: waking the
thread, and then the loop, costs the daemon more than most pieces of work."""

TRIP_SECONDS = GIVE_UP_SECONDS / 4
"""Time after which a trip begins no further piece of work: many fast ones are not a disk that hangs, and the loop does
other things in between."""

STARVED_SECONDS = 1.0
"""How long the loop waits if the thread has work but gets no processor: a busy machine is not a disk that hangs."""

END_SECONDS = 2.0
"""How long the end of the process waits for work that was begun."""

T = TypeVar("T")


class DiskAway(NotPossible):
    """The disk does not answer: nothing was lost, and it is tried again when the disk answers."""

    def __init__(self) -> None:
        super().__init__("The disk does not answer.", "Check the kernel log, and what else uses the disk.")


class Work(Generic[T]):
    """Something that the disk was asked to do."""

    __slots__ = ("_do", "_error", "_result", "ended", "late", "over")

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._result: T | None = None
        self._error: BaseException | None = None
        self.late: Callable[[Work[T]], None] | None = None  # called at the end if nobody waits any more
        self.over = False
        self.ended = threading.Lock()
        self.ended.acquire()

    def run(self) -> None:
        """Do it; called in the thread."""
        try:
            self._result = self._do()
        except BaseException as error:  # raised to the caller by `outcome`
            self._error = error

    def outcome(self) -> T:
        """Return the result, or raise what went wrong; only once it is over."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # of the type that the work returned


class Disk:
    """One thread, which does work in the order it is submitted."""

    def __init__(self, report: Callable[[Exception], None], give_up_seconds: float = GIVE_UP_SECONDS) -> None:
        """`report` is called, in the thread, with errors of work that nobody waits for any more."""
        self._report = report
        self._give_up_seconds = give_up_seconds
        self._asked: SimpleQueue[Work[Any] | None] = SimpleQueue()
        self._turn = threading.Lock()
        self._joining: list[tuple[Callable[[], None], asyncio.Future[None]]] = []  # these share the next trip
        self._owed = 0  # pieces of work that the loop stopped waiting for and that have not ended
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    @property
    def away(self) -> bool:
        """Tell whether the disk has not ended something in time."""
        return self._owed > 0

    def within(self, do: Callable[[], T], late: Callable[[T], None] | None = None) -> T:
        """Do something; raise DiskAway if the disk does not end it in time, or at once if the disk is away already.

        What was begun is done in any case, and `late` gets the result if there is no error.
        """
        if self.away:
            raise DiskAway
        work = self.begin(do, (lambda ended: late(ended.outcome())) if late else None)
        if not work.over:
            raise DiskAway
        return work.outcome()

    async def without_limit(self, do: Callable[[], T]) -> T:
        """Do something however long the disk takes; only the caller waits, the loop continues."""
        loop = asyncio.get_running_loop()
        waking: asyncio.Future[None] = loop.create_future()

        def wake(_: Work[T]) -> None:
            with suppress(RuntimeError):  # the loop has closed, so nobody waits
                loop.call_soon_threadsafe(_settle, waking)

        work = self.begin(do, wake)
        if not work.over:
            await waking
        return work.outcome()

    def together(self, do: Callable[[], None]) -> asyncio.Future[None]:
        """Do something together with whatever else is submitted at the same moment, in as few trips as possible.

        Each succeeds or fails on its own; the loop waits for none of them.
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
            with suppress(RuntimeError):  # the loop has closed, so nobody waits
                loop.call_soon_threadsafe(arrive, work)

        def arrive(work: Work[list[Exception | None]]) -> None:
            done = work.outcome()
            self._join(joining[len(done) :])
            for (_, future), problem in zip(joining, done, strict=False):
                if future.done():
                    continue  # its call was cancelled meanwhile
                if problem is None:
                    future.set_result(None)
                else:
                    future.set_exception(problem)

        begun = self.begin(work, tell)
        if begun.over:
            arrive(begun)

    def _join(self, rest: list[tuple[Callable[[], None], asyncio.Future[None]]]) -> None:
        """Put what a trip did not begin at the head of the next one."""
        if rest and not self._joining:
            asyncio.get_running_loop().call_soon(self._set_out)
        self._joining = [*rest, *self._joining]

    def begin(self, do: Callable[[], T], late: Callable[[Work[T]], None] | None = None) -> Work[T]:
        """Do something and wait for it briefly; if it is not `over` then, the thread calls `late` at its end."""
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
        """End the thread after the work that was submitted; a disk that hangs does not delay the end."""
        self._asked.put(None)
        self._thread.join(END_SECONDS)

    def _ended(self, work: Work[Any]) -> bool:
        if work.ended.acquire(timeout=self._give_up_seconds):
            return True
        return self._starved() and work.ended.acquire(timeout=STARVED_SECONDS)

    def _starved(self) -> bool:
        """Tell whether the thread waits for a processor and not for the disk (proc(5): R)."""
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
            except Exception as problem:  # a fault in `late` must not stop the work after it
                self._report(problem)
            with self._turn:
                self._owed -= 1


def _check(work: Work[Any]) -> None:
    work.outcome()


def _tried(do: Callable[[], None]) -> Exception | None:
    """Do something and return what went wrong; called in the thread."""
    try:
        do()
    except Exception as problem:  # raised to whoever submitted it
        return problem
    return None


def _settle(waking: asyncio.Future[None]) -> None:
    if not waking.done():
        waking.set_result(None)
