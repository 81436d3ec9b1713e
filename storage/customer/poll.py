"""The poll: one statement, about once a second, that finds what other nodes may have changed for a customer.

    seen = await Poll(database).look()

The statement runs outside a transaction and writes nothing. Its answer only says that there may be something to do. The
task that does it reads again in its own transaction, which compares this node's cuts with the newest line
(storage.holders).
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from storage.database.database import Database
from storage.database.database_clock import MICROS, NOW
from storage.database.schema import cuts, shared_files
from storage.erasure.erasure_rows import OPEN_SINCE
from storage.holders.cut_table import BY_ALL, CHANGE_COLUMNS, ChangeMark, change_mark_of
from storage.nodes.indexed import ASKED, INDEXED
from storage.timestamps import DAY_MICROS

_VERSIONS = sa.select(sa.cast(sa.func.json_object_agg(shared_files.c.name, shared_files.c.version), sa.Text))
_UNFINISHED = sa.select(sa.func.min(cuts.c.n)).where(cuts.c.removed < sa.literal_column(str(BY_ALL)))
_ALL = sa.select(
    NOW.label("now"),
    *CHANGE_COLUMNS,
    _UNFINISHED.scalar_subquery().label("unfinished"),
    _VERSIONS.scalar_subquery().label("versions"),
    OPEN_SINCE.label("open_since"),
    ASKED.label("asked"),
    INDEXED.label("indexed"),
)


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Seen:
    """The database's answer at one moment; times are microseconds by its clock."""

    now: int
    """The moment of the answer."""
    change_mark: ChangeMark
    """Changes when a line is cut or acknowledged (storage.holders.cut_table)."""
    unfinished: int
    """Number of the oldest line for which something is left to remove; 0 if there is none."""
    versions: Mapping[str, int]
    """Versions of tokens and accounts, by name."""
    open: bool
    """Whether an erasure is open: running, waiting or cut."""
    asked: int
    """The newest time up to which some node or erasure needs all calls to be indexed."""
    indexed: int
    """All calls of all nodes that ended before this time are indexed."""


class Poll:
    """Asks the database of one customer."""

    def __init__(self, database: Database, passed: Callable[[], float] = _since_boot) -> None:
        """Take `passed`, which counts seconds, including those while the machine sleeps."""
        self._database = database
        self._passed = passed
        self._boot: int | None = None  # when `passed` was 0, by the clock of the database

    async def look(self) -> Seen:
        """Ask the database and return its answer; raises StorageError."""
        passed = self._passed()
        row = await self._database.peek(_ALL)
        self._boot = int(row.now) - round(passed * MICROS)
        versions = json.loads(row.versions or "{}")
        asked, since = int(row.asked or 0), row.open_since
        return Seen(
            int(row.now), change_mark_of(row), int(row.unfinished or 0), versions, since is not None,
            max(asked, since or 0), int(row.indexed or 0),
        )  # fmt: skip

    def recording_day(self, day: int) -> int:
        """Return the day of the leaf for a recording that begins on `day` by our clock, in days since 1970-01-01.

        Return the day by the clock of the database, or the day after; before the first `look`, return `day`. By a clock
        that is days behind, the leaf would belong to a day that other nodes may cut whole, because all of its calls are
        indexed. Also, two nodes' recordings of one session are found only if their days are near.
        """
        if self._boot is None:
            return day
        today = (self._boot + round(self._passed() * MICROS)) // DAY_MICROS
        return min(max(day, today), today + 1)
