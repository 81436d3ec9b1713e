"""The gap of the index: the day from which it may lack recordings, until all of them are indexed again.

    await measure(gap, journal, database, vault, now)     when a database is opened, before anything is written to it
    customer.gap.first()                                  the day; None if a start finds all missing calls by itself
    customer.gap.close()                                  after all recordings were checked and missing calls indexed

An index that was lost, restored from a backup or unreachable for days is completed while the service runs, which may
take hours. New calls are written to it meanwhile, so after a crash the newest call in the index does not show that
older ones are still missing. The day is stored in `customers/NAME/index.gap`; normally there is no such file.
"""

import asyncio
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from storage.calls.call_row import DAY_SHIFT
from storage.database.database import Database
from storage.database.schema import calls, days, nodes
from storage.errors import StorageError
from storage.files.durable_files import Disk
from storage.journal.journal import Journal, mark
from storage.timestamps import DAY_MICROS, day_of
from storage.vault.vault import Vault

FILE_NAME = "index.gap"
LOOK_BACK_DAYS = 3
"""Days before the newest indexed call from which every start checks recordings.

A call may take a day, and a database may be away for two.
"""
ALL = 0  # the first of all days


class Gap:
    """The gap in the index of one customer."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._first: int | None = None  # also kept in memory because the disk may refuse to store it

    def first(self) -> int | None:
        """Return the day, as days since 1970-01-01; None if a start finds all missing calls by itself."""
        data = Disk().read(self._path)
        known = [] if data is None else [int(data) if data.strip().isdigit() else ALL]
        return min([*known, *([] if self._first is None else [self._first])], default=None)

    def widen(self, first: int) -> None:
        """Note that all recordings from this day on must be checked; on a full disk, a crash loses the note."""
        known = self.first()
        if known is not None and known <= first:
            return
        self._first = first
        with suppress(StorageError):
            Disk().replace(self._path, b"%d\n" % first)

    def close(self) -> None:
        """Note that the index has all recordings; raises DiskFailed."""
        self._first = None
        if self._path.exists():  # a read-only disk refuses to remove even a file that does not exist
            Disk().remove(self._path)


async def measure(
    gap: Gap,
    journal: Journal,
    database: Database,
    vault: Vault,
    now: datetime,
    older: bool = False,
    *,
    node: int | None = None,
) -> None:
    """Widen the gap if the index was lost, is older, or was away so long that it lacks more than every start checks.

    `older`: the index is known to be older, although the journal may not show it. `node`: number of this node if there
    are several, because the newest call may be another node's.
    """
    async with database.reading() as connection:
        newest, mine = await connection.scalar(sa.select(sa.func.max(days.c.day))), await mark(connection, journal.node)
        if node is not None and newest is not None:
            until = await connection.scalar(sa.select(nodes.c.indexed_until).where(nodes.c.node == node))
            newest = min(newest, until // DAY_MICROS) if until else newest
    ahead = await asyncio.to_thread(lambda: journal.newest)
    older = older or ahead > mine + 1  # a crash leaves the database at most one line behind
    if older or newest is None:
        first = ALL
    elif newest < day_of(now) - LOOK_BACK_DAYS:  # otherwise every start finds what is missing
        first = max(ALL, newest - LOOK_BACK_DAYS)
        if not await _lacks(database, vault, first):  # there were no calls in that time
            return
    else:
        return
    if await asyncio.to_thread(vault.days):
        await asyncio.to_thread(gap.widen, first)


async def _lacks(database: Database, vault: Vault, first: int) -> bool:
    """Return whether there are recordings from this day on that the index does not have."""
    stored = await asyncio.to_thread(lambda: {ref.leaf for ref in vault.since(first)})
    async with database.reading() as connection:
        known = await connection.scalars(sa.select(calls.c.leaf).where(calls.c.leaf >= first << DAY_SHIFT))
        return not stored <= set(known)
