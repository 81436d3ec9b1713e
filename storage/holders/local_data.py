"""Local data of leaves that were cut: find and remove live calls, parts, uploads, rows and objects."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from storage.batches import batches
from storage.calls.call_row import DAY_SHIFT
from storage.cuts.lines import Kind, Line, Numbered
from storage.database.database import Database
from storage.database.schema import calls
from storage.keys.cut_log import Entry, entry_of
from storage.keys.sealing import DeletableKeys
from storage.vault.vault import Vault

RemoveRows = Callable[[Sequence[tuple[str, int]], Iterable[int]], Awaitable[None]]
"""Removes the rows of recordings, given as (call, leaf), and makes new search tokens for days whose key was cut."""

_NOTHING = Entry((), datetime(1970, 1, 1, tzinfo=UTC), ())


def entry(line: Line, customer: str) -> Entry:
    """Return what a line cuts; the entry is empty unless the line is a cut."""
    return entry_of(line.text, customer) if line.kind is Kind.CUT else _NOTHING


class LocalData:
    """The data of one customer on this node, and the rows and objects that all nodes share."""

    def __init__(
        self, keys: DeletableKeys, vault: Vault, others: Sequence[Vault], database: Database, remove_rows: RemoveRows
    ) -> None:
        """`others`: vaults of files made from recordings."""
        self._keys = keys
        self._vault = vault
        self._all = (vault, *others)
        self._database = database
        self._remove_rows = remove_rows

    def live(self, line: Numbered, customer: str) -> list[str]:
        """Return the ids of calls that a line cuts and this node is still writing."""
        cut = entry(line.line, customer)
        leaves, days = set(cut.leaves), set(cut.days)
        if not leaves and not days:
            return []
        open_here = self._vault.left_open()
        return sorted({ref.call for ref in open_here if ref.leaf in leaves or ref.leaf >> DAY_SHIFT in days})

    def drop(self, entries: Sequence[Entry]) -> None:
        """Remove every part of this node whose key was cut; wait until none of them is being read or uploaded."""
        days = _days(entries)
        cut = {
            ("", leaf) for each in entries for leaf in each.leaves
        }  # copies fetched from the store have no part on this node
        for vault in self._all:
            dead = {(ref.call, ref.leaf) for day in sorted(days) for ref in vault.of_day(day)}
            vault.remove_all({(call, leaf) for call, leaf in dead if not self._keys.keeps(leaf)} | cut)
            vault.in_use.wait_for_cut()

    async def remove(self, cut: Entry) -> None:
        """Remove the rows of an entry; repeatable."""
        days = _days([cut])
        if days:
            await self._remove_rows(await self._rows(cut), days)

    async def remove_objects(self, cut: Entry) -> None:
        """Remove the rows and objects of an entry that all holders have cut; repeatable.

        Rows are removed again because a node may have written some before it applied the line.
        """
        await self.remove(cut)
        calls = {leaf for each in cut.erasures for leaf in each.leaves if leaf >> DAY_SHIFT not in cut.days}
        # only the calls of erasures have objects; index keys and exports have none
        await asyncio.to_thread(self._vault.remove_objects, [("", leaf) for leaf in calls])
        await asyncio.to_thread(self._vault.remove_days, cut.days)

    async def _rows(self, cut: Entry) -> list[tuple[str, int]]:
        found: dict[str, int] = {}
        async with self._database.reading() as connection:
            for column, wanted in ((calls.c.leaf, cut.leaves), (calls.c.day, cut.days)):
                for part in batches(list(wanted)):
                    asked = sa.select(calls.c.id, calls.c.leaf).where(column.in_(part))
                    found.update((row[0], row[1]) for row in await connection.execute(asked))
        return sorted(found.items())


def _days(entries: Iterable[Entry]) -> set[int]:
    """Return the days that the entries cut whole, and the days of the leaves that they cut."""
    return {day for each in entries for day in (*each.days, *(leaf >> DAY_SHIFT for leaf in each.leaves))}
