"""Remember from which day on the index may lack recordings, until all of them are in it again.

    await measure(gap, journal, database, vault, now)     when a database is opened, before anything is written to it
    customer.gap.first()                                  the day, None: only those that ended a moment ago
    customer.gap.close()                                  all were looked at, and what was missing is indexed

An index that was lost, or comes from a backup, or was away for days is filled up behind the running service, which may
take hours. Calls of today are written to it meanwhile, so by its newest one nobody could tell after a crash that older
ones are still missing. The day stands in `customers/NAME/index.gap`; no file is the rule.
"""

import asyncio
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from storage.calls.call_row import DAY_SHIFT
from storage.database.database import Database
from storage.database.schema import calls, days
from storage.errors import StorageError
from storage.files.durable_files import Disk
from storage.journal.journal import Journal, mark
from storage.timestamps import day_of
from storage.vault.vault import Vault

FILE_NAME = "index.gap"
LOOK_BACK_DAYS = 3
"""Days before the last one whose recordings are looked for at every start: a call of a day, a database away for two."""
ALL = 0  # the first of all days


class Gap:
    """From which day on the index of one customer may lack recordings."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._first: int | None = None  # where the disk did not take it

    def first(self) -> int | None:
        """Return the day, as days since 1970-01-01; None if a start finds all missing calls by itself."""
        data = Disk().read(self._path)
        known = [] if data is None else [int(data) if data.strip().isdigit() else ALL]
        return min([*known, *([] if self._first is None else [self._first])], default=None)

    def widen(self, first: int) -> None:
        """Note that all recordings from this day on must be checked; on a full disk the note is lost in a crash."""
        known = self.first()
        if known is not None and known <= first:
            return
        self._first = first
        with suppress(StorageError):
            Disk().replace(self._path, b"%d\n" % first)

    def close(self) -> None:
        """Note that the index has them all; raises DiskFailed."""
        self._first = None
        if self._path.exists():  # a disk that is read-only refuses even to remove what is not there
            Disk().remove(self._path)


async def measure(gap: Gap, journal: Journal, database: Database, vault: Vault, now: datetime) -> None:
    """Find out whether the index lacks more than a start looks for anyway: it was lost, is older, or was long away."""
    async with database.reading() as connection:
        newest, mine = await connection.scalar(sa.select(sa.func.max(days.c.day))), await mark(connection)
    older = await asyncio.to_thread(lambda: journal.newest) > mine + 1  # a crash leaves one line at most
    if older or newest is None:
        first = ALL
    elif newest < day_of(now) - LOOK_BACK_DAYS:  # else a start finds what is missing, however many calls came since
        first = max(ALL, newest - LOOK_BACK_DAYS)
        if not await _lacks(database, vault, first):  # there were no calls
            return
    else:
        return
    if await asyncio.to_thread(vault.days):
        await asyncio.to_thread(gap.widen, first)


async def _lacks(database: Database, vault: Vault, first: int) -> bool:
    """Tell whether there are recordings from a day on that the index does not have."""
    stored = await asyncio.to_thread(lambda: {ref.leaf for ref in vault.since(first)})
    async with database.reading() as connection:
        known = await connection.scalars(sa.select(calls.c.leaf).where(calls.c.leaf >= first << DAY_SHIFT))
        return not stored <= set(known)
