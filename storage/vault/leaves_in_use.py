"""Recordings that are being read or uploaded: a cut of the key stops readers and waits for uploads."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from storage.errors import Forgotten, StorageError

LOOK_SECONDS = 0.25
"""Interval at which a reader checks whether its key was cut, perhaps by another process."""

Keeps = Callable[[int], bool]
"""Returns whether a leaf has not been cut."""


class LeavesInUse:
    """The leaves whose parts this process is reading or uploading to an object store; safe in any thread."""

    def __init__(self, keeps: Keeps) -> None:
        self._keeps = keeps
        self._changed = threading.Condition()
        self._count: Counter[int] = Counter()

    @contextmanager
    def of(self, leaf: int) -> Iterator[None]:
        """Count a leaf as in use while the block runs."""
        with self._changed:
            self._count[leaf] += 1
        try:
            yield
        finally:
            with self._changed:
                self._count[leaf] -= 1
                if not self._count[leaf]:
                    del self._count[leaf]
                self._changed.notify_all()

    @asynccontextmanager
    async def reading(self, leaf: int) -> AsyncIterator[Callable[[], bool]]:
        """Count a leaf as in use while the block runs; cancel the block within LOOK_SECONDS after the leaf was cut.

        Raises Forgotten after such a cut. Yields a function that returns whether the key still exists; call it before
        each block of data.
        """
        loop = asyncio.get_running_loop()
        timer: asyncio.Handle

        def keeps() -> bool:
            try:
                return self._keeps(leaf)
            except StorageError:  # unreadable keys open nothing
                return False

        def look() -> None:
            nonlocal timer
            if keeps():
                timer = loop.call_later(LOOK_SECONDS, look)
            else:
                limit.reschedule(loop.time())

        limit = asyncio.timeout(None)
        timer = loop.call_soon(look)
        with self.of(leaf):
            try:
                async with limit:
                    yield keeps
            except TimeoutError:
                if limit.expired():
                    raise Forgotten("this recording was erased: its key no longer exists") from None
                raise
            finally:
                timer.cancel()

    def any(self) -> bool:
        """Return whether any leaf is in use."""
        with self._changed:
            return bool(self._count)

    def wait(self, leaves: set[int]) -> None:
        """Wait until none of these leaves is in use; every upload has its own time-out."""
        with self._changed:
            self._changed.wait_for(lambda: leaves.isdisjoint(self._count))

    def wait_for_cut(self) -> None:
        """Wait until no leaf whose key was cut is in use."""
        with self._changed:
            used = set(self._count)
        self.wait({leaf for leaf in used if not self._keeps(leaf)})
