"""Sign-in data that the nodes of a customer share: tokens, accounts, and short-lived rows of the admin page."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.access.shared_documents import AsyncCut, News, SharedDocuments
from storage.access.shared_rows import SharedRows
from storage.database.database import Database
from storage.keys.row_keys import Keys

REFRESH_SECONDS = 60.0
"""Seconds between two checks for changes by other nodes, unless `wanted` is set earlier."""
PURGE_SECONDS = 600.0
"""Seconds between two deletions of rows that have ended."""


class SharedAccess:
    """The shared documents and rows of one customer, and the task that keeps this node's copies up to date."""

    def __init__(
        self,
        folder: Path,
        keys: Keys,
        database: Callable[[], Database],
        cut: AsyncCut,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`database` returns the database, or raises StorageError; `cut` cuts leaves on all nodes."""
        self.documents = SharedDocuments(folder, keys, database, cut)
        self.rows = SharedRows(keys, database, random, self._current, self.refresh)
        #: Set when other nodes have changed something.
        self.wanted = asyncio.Event()
        self._news: list[News] = []

    def close(self) -> None:
        """Stop the thread."""
        self.documents.close()

    async def refresh(self) -> None:
        """Bring the copies of this node up to date."""
        self._news += await self.documents.refresh()

    async def serve(self) -> None:
        """Bring the copies up to date, and let every thread make changes from now on."""
        self.documents.serve()
        await self.refresh()

    async def follow(self, told: Callable[[Sequence[News]], None], failed: Callable[[Exception], None]) -> None:
        """Take over the changes of other nodes until cancelled.

        `told` is called with events that an operator should know about, `failed` with each new failure.
        """
        purge, fault, clock = 0.0, "", asyncio.get_running_loop().time
        while True:
            self.wanted.clear()
            try:
                await self.refresh()
                if purge <= clock():
                    await self.rows.purge()
                    purge = clock() + PURGE_SECONDS
                fault = ""
            except Exception as problem:  # this node goes on with its copies
                if str(problem) != fault:
                    failed(problem)
                fault = str(problem)
            news, self._news = self._news, []
            if news:
                told(news)
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_SECONDS):  # wait_for of Python 3.11 may lose a cancellation
                    await self.wanted.wait()

    async def _current(self, connection: AsyncConnection) -> bool:
        return self.documents.current(await self.documents.versions(connection))
