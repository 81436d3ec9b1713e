"""Find out with one statement what other nodes may have changed for a customer; each node asks about once a second.

    seen = await Poll(database).look()

The statement runs outside a transaction and writes nothing. Its answer only says that there may be something to do. The
task that does it reads again in a transaction of its own, which compares what this node has cut with the newest line
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
    """What the database says at one moment; times are microseconds by its clock."""

    now: int
    """The moment of the answer."""
    change_mark: ChangeMark
    """Changes when a line is cut or acknowledged (storage.holders.cut_table)."""
    unfinished: int
    """Number of the oldest line of which something is left to remove; 0 if there is none."""
    versions: Mapping[str, int]
    """Versions of tokens and accounts, by name."""
    open: bool
    """Whether an erasure is open: to be carried out, or waiting for other nodes."""
    asked: int
    """The newest time up to which some node or erasure needs all calls to be indexed."""
    indexed: int
    """All calls of all nodes that ended before this time are indexed."""


class Poll:
    """Asks the database of one customer."""

    def __init__(self, database: Database, passed: Callable[[], float] = _since_boot) -> None:
        """`passed` counts seconds, those of sleep too."""
        self._database = database
        self._passed = passed
        self._boot: int | None = None  # when `passed` was 0, by the clock of the database

    async def look(self) -> Seen:
        """Return what the database says now; raises StorageError."""
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
        """Return on which day a recording is numbered that begins on a day (since 1970-01-01) by our clock.

        That is the day by the clock of the database, or the one after. A clock that is days behind would number on a
        day that other nodes may cut whole, since everything of it is indexed; and the recordings that two nodes make of
        one session are found by days that are near. Until the first `look`, `day` itself.
        """
        if self._boot is None:
            return day
        today = (self._boot + round(self._passed() * MICROS)) // DAY_MICROS
        return min(max(day, today), today + 1)
