"""Requests to an object store, run so that a hanging request does not delay the end of the process.

Each request runs in a daemon thread of its own. `close` releases every caller that still waits for its request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from storage.errors import StoreAway

T = TypeVar("T")


class Requests:
    """The running requests to one store."""

    def __init__(self) -> None:
        self._closed: Future[None] = Future()
        self._lock = threading.Lock()
        self._running = 0

    @property
    def running(self) -> int:
        """Return how many requests are running; if any are, the process should exit without waiting for threads."""
        return self._running

    def do(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, run in a thread of its own; raise StoreAway after `close` was called."""
        if self._closed.done():
            raise _stopping()
        result: Future[T] = Future()
        threading.Thread(target=self._run, args=(work, result), name="store", daemon=True).start()
        either: tuple[Future[Any], ...] = (result, self._closed)
        wait(either, return_when=FIRST_COMPLETED)
        if not result.done():
            raise _stopping()
        return result.result()

    def close(self) -> None:
        """Release all waiting callers, and refuse all further requests."""
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


def _stopping() -> StoreAway:
    return StoreAway("the recorder is stopping", "it repeats the request after the next start")
