"""Cut what several nodes hold: a line of the table `cuts`, which this node has applied when the transaction is over."""

from collections.abc import Callable
from datetime import datetime

from storage.database.database import Database, after_commit, writer
from storage.holders.holder import Holder
from storage.keys.cut_log import Entry, text_of


class SharedKeys:
    """Cuts the keys that this node and others hold (storage.keys.cutter.Cutter)."""

    def __init__(
        self, holder: Holder, database: Database, keeps: Callable[[int], bool], now: Callable[[], datetime]
    ) -> None:
        """`keeps` says whether a leaf was not cut yet."""
        self._holder = holder
        self._database = database
        self._keeps = keeps
        self._now = now

    async def cut(self, *leaves: int) -> None:
        """Write the line in the transaction of this task, or in one of its own; raises CutsBehind, DatabaseAway."""
        await self.forget(Entry((), self._now(), leaves))

    async def forget(self, entry: Entry) -> None:
        """Write the line, whole days and erasures included; raises as `cut` does.

        If the commit is lost, nothing is cut; if only its answer is, the holder loop finds the line.
        """
        if not entry.erasures and not entry.days and not any(map(self._keeps, entry.leaves)):
            return
        connection = writer()
        if connection is not None:
            await self._holder.file(connection, text_of(entry, self._database.customer))
            after_commit(self._holder.applied)
            return
        async with self._database.writing():
            await self.forget(entry)
