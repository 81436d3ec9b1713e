"""Wait for requests to a store, but not longer than the process lives.

A request that hangs would keep its thread, and so the whole process, for as long as its time-out. So each runs in a
thread that nobody has to wait for; `close` releases whoever does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from storage.errors import StoreAway

T = TypeVar("T")


class Requests:
    """The requests of one store."""

    def __init__(self) -> None:
        self._closed: Future[None] = Future()
        self._lock = threading.Lock()
        self._running = 0

    @property
    def running(self) -> int:
        """Return how many requests have not ended; the process should then leave without waiting for threads."""
        return self._running

    def do(self, work: Callable[[], T]) -> T:
        """Do it in a thread of its own and return its result; raise StoreAway if the store is closed meanwhile."""
        if self._closed.done():
            raise StoreAway("the recorder is stopping", "it is done after the next start")
        result: Future[T] = Future()
        threading.Thread(target=self._run, args=(work, result), name="store", daemon=True).start()
        either: tuple[Future[Any], ...] = (result, self._closed)
        wait(either, return_when=FIRST_COMPLETED)
        if not result.done():
            raise StoreAway("the recorder is stopping", "it is done after the next start")
        return result.result()

    def close(self) -> None:
        """Release whoever waits, and do nothing more."""
        if not self._closed.done():
            self._closed.set_result(None)

    def _run(self, work: Callable[[], T], result: Future[T]) -> None:
        with self._lock:
            self._running += 1
        try:
            result.set_result(work())
        except BaseException as problem:
            result.set_exception(problem)
        finally:
            with self._lock:
                self._running -= 1
