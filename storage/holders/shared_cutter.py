"""Cutting keys that several nodes hold: a line of the table `cuts`, applied here when the transaction ends."""

from collections.abc import Callable
from datetime import datetime

from storage.database.database import Database, after_commit, writer
from storage.holders.holder import Holder
from storage.keys.cut_log import Entry, text_of


class SharedKeys:
    """Cuts keys that this node and others hold (storage.keys.cutter.Cutter)."""

    def __init__(
        self, holder: Holder, database: Database, keeps: Callable[[int], bool], now: Callable[[], datetime]
    ) -> None:
        """`keeps` returns whether a leaf has not been cut yet."""
        self._holder = holder
        self._database = database
        self._keeps = keeps
        self._now = now

    async def cut(self, *leaves: int) -> None:
        """Cut leaves in this task's writing transaction, or in a new one; raises CutsBehind, DatabaseAway."""
        await self.forget(Entry((), self._now(), leaves))

    async def forget(self, entry: Entry) -> None:
        """Cut leaves and whole days for erasures; raises as `cut` does.

        If the commit fails, nothing is cut. If only its answer is lost, the holder loop finds the line and applies it.
        """
        if not entry.erasures and not entry.days and not any(map(self._keeps, entry.leaves)):
            return
        connection = writer()
        if connection is not None:
            await self._holder.append_cut(connection, text_of(entry, self._database.customer))
            after_commit(self._holder.applied)
            return
        async with self._database.writing():
            await self.forget(entry)
