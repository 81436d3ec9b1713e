"""The steps of an erasure, each of which can be repeated: cut, unlink, remove, index again, scrub, verify.

The most effective step comes first: once the cut log is written and the keys are cut, no copy can be read any more.
Unlinking then frees the space that the later steps may need on a full disk.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.batches import batches
from storage.calls.call_index import Calls
from storage.calls.call_row import DAY_SHIFT
from storage.database.database import Database, DatabaseAway
from storage.database.schema import (
    annotations,
    attachments,
    call_tokens,
    calls,
    days,
    erasures,
    export_calls,
    exports,
    holds,
    retention_rules,
    users,
    waivers,
)
from storage.erasure import erasure_rows as rows
from storage.erasure.erasure_rows import ErasureTarget
from storage.errors import NoSpace, StorageError
from storage.files.reserved_space import ReservedSpace
from storage.keys.cut_log import Entry, Request
from storage.keys.cutter import Cutter, OwnKeys
from storage.keys.sealing import DeletableKeys
from storage.timestamps import day_of, from_micros
from storage.vault.vault import Vault

DayIsSettled = Callable[[AsyncConnection, int], Awaitable[bool]]
"""Returns whether no node can add a call of this day to the index any more."""

SETTLED_DAYS = 2  # a day this old gets no new recordings; one that began before midnight keeps its leaf
T = TypeVar("T")
_BESIDE = (annotations, attachments, holds)  # tables that refer to a call by its id


class NotErased(StorageError):
    """Something that was erased still exists; the erasure stays open and is tried again."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The leaves and days that one cut removes from the key tree."""

    leaves: tuple[int, ...]
    """Single leaves."""
    days: tuple[int, ...]
    """Whole days."""


class ErasureSteps:
    """The steps that erase calls of one customer."""

    def __init__(
        self,
        keys: DeletableKeys,
        vault: Vault,
        database: Database,
        calls: Calls,
        reserved: ReservedSpace,
        derived: Callable[[Sequence[str]], Awaitable[object]],
        cutter: Cutter | None = None,
        settled: DayIsSettled | None = None,
    ) -> None:
        """Take `derived`, which removes files that were made from calls.

        If several nodes hold the keys, also take the `cutter` for all of them, and `settled`.
        """
        self._settled = settled
        self._keys = keys
        self._cutter = cutter or OwnKeys(keys)
        self._vault = vault
        self._database = database
        self._calls = calls
        self._reserved = reserved
        self._derived = derived

    @property
    def shared(self) -> bool:
        """Return whether other nodes hold the keys too, so that an erasure is done only after they have cut them."""
        return self._settled is not None

    def reserve_space(self) -> None:
        """Reserve the disk space that the next erasure needs, or as much as is free."""
        self._reserved.keep()
        self._keys.prepare()

    async def with_reserve(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work that must succeed on a full disk; if it does not, release the reserved space and do it again."""
        try:
            return await work()
        except (DatabaseAway, NoSpace):
            if not self._reserved.release():
                raise
        return await work()

    async def cut(self, targets: Sequence[ErasureTarget], now: datetime) -> None:
        """Write the cut log, then cut the keys of calls, of their days' search tokens and of their exports.

        A writing transaction is open from the last look at the days' keys until after the cut. Otherwise another one
        could add a key that stays, and with it an old copy of the database could be searched.
        """
        ids = [d.call for d in targets]
        stored = await asyncio.to_thread(self._stored, {d.leaf >> DAY_SHIFT for d in targets})
        async with self._database.reading() as connection:
            open_ones = await rows.erasures_of(connection, ids)
            requests = [await _request(connection, record, mine) for record, mine in open_ones]
            own = [
                record.leaf
                for record, mine in open_ones
                if record.leaf is not None and not await rows.waits(connection, record.id, {d.call for d in mine})
            ]
            gone = await rows.exports_of(connection, ids)
            cut = await self._plan(connection, [*targets, *gone], stored, day_of(now))
        async with self._database.writing() as connection:
            index = await _index_leaves(connection, {leaf >> DAY_SHIFT for leaf in cut.leaves})
            entry = Entry(tuple(requests), now, tuple({*cut.leaves, *index, *own}), cut.days)
            await self._cutter.forget(entry)

    async def cut_leaves(self, *leaves: int) -> None:
        """Cut leaves that belong to no call."""
        await self._cutter.cut(*leaves)

    async def recut(self, entries: Sequence[Entry]) -> None:
        """Repeat the cuts of these lines of the cut log if any of their keys still exists."""
        await asyncio.to_thread(self._keys.repeat, entries)

    async def unlink(self, targets: Sequence[ErasureTarget]) -> None:
        """Unlink the files of calls, and of exports that contain them; wait until nobody here reads them any more."""
        async with self._database.reading() as connection:
            gone = await rows.exports_of(connection, [d.call for d in targets])
        files = [(d.call, d.leaf) for d in (*targets, *gone)]
        await asyncio.to_thread(self._vault.remove_all, files)
        await asyncio.to_thread(self._vault.in_use.wait_for_cut)
        await self._derived([d.call for d in targets])

    async def remove(self, targets: Sequence[ErasureTarget]) -> None:
        """Remove rows, tokens, corrections, attachments and exports."""
        for day in sorted({d.leaf >> DAY_SHIFT for d in targets}):
            await self._calls.remove_tokens(day)
        for part in batches([d.call for d in targets]):
            await self._calls.remove(part)
            async with self._database.writing() as connection:
                for table in _BESIDE:
                    await connection.execute(table.delete().where(table.c.call.in_(part)))
                gone = [export.call for export in await rows.exports_of(connection, part)]
                for some in batches(gone):
                    await connection.execute(export_calls.delete().where(export_calls.c.export.in_(some)))
                    await connection.execute(exports.delete().where(exports.c.id.in_(some)))

    async def reindex(self, wanted: Iterable[int]) -> None:
        """Make new search tokens for the remaining calls of days whose old key was cut."""
        for day in sorted(set(wanted)):
            leaf = await self._calls.index_leaf(day)
            if leaf is not None and not self._keys.keeps(leaf):
                await self._calls.reindex(day)

    async def verify(self, targets: Sequence[ErasureTarget]) -> None:
        """Delete the objects, scrub the database and check that nothing is left; raises NotErased, StoreAway.

        The object store comes first, so that nothing is scrubbed again and again while it is away.
        """
        stored = [(d.call, d.leaf) for d in targets]
        if await asyncio.to_thread(self._vault.remove_objects, stored):
            raise NotErased("an erased call was still in the object store", "it is looked for again")
        await self._database.scrub()
        if await asyncio.to_thread(lambda: any(self._keys.keeps(d.leaf) for d in targets)):
            raise NotErased("a key that was cut still exists", "check keys/ and its disk")
        if await asyncio.to_thread(self._vault.remove_all, stored):
            raise NotErased("files of an erased call still existed", "check the disk")
        async with self._database.reading() as connection:
            for part in batches(targets):
                await _expect_nothing(connection, part)

    async def clear(self, wanted: Iterable[int]) -> list[ErasureTarget]:
        """Remove everything of these days whose key is cut, which a restored backup may contain; return the calls."""
        wanted = sorted(set(wanted))
        found = await asyncio.to_thread(self._stored, set(wanted))
        dead = {ErasureTarget(call, leaf) for call, leaf in found if not self._keys.keeps(leaf)}
        async with self._database.reading() as connection:
            for day in wanted:
                asked = sa.select(calls.c.id, calls.c.leaf).where(calls.c.day == day)
                dead |= {
                    ErasureTarget(r[0], r[1]) for r in await connection.execute(asked) if not self._keys.keeps(r[1])
                }
        gone = sorted(dead, key=lambda d: d.leaf)
        if gone:
            await self.unlink(gone)
            await self.remove(gone)
        await self.reindex(wanted)
        return gone

    def _stored(self, wanted: set[int]) -> set[tuple[str, int]]:
        """Return the recordings of some days that have files, indexed or not."""
        return {(ref.call, ref.leaf) for day in wanted for ref in self._vault.of_day(day)}

    async def _plan(
        self, connection: AsyncConnection, targets: Sequence[ErasureTarget], stored: set[tuple[str, int]], today: int
    ) -> Cut:
        """Decide which days to cut whole: old enough, and nothing but these calls has a leaf in them."""
        by_day: dict[int, set[int]] = {}
        for d in targets:
            by_day.setdefault(d.leaf >> DAY_SHIFT, set()).add(d.leaf)
        leaves: list[int] = []
        whole: list[int] = []
        for day, mine in by_day.items():
            old = day <= today - SETTLED_DAYS and (self._settled is None or await self._settled(connection, day))
            if old and not await self._survivor(connection, day, mine, stored):
                whole.append(day)
            else:
                leaves += mine
        return Cut(tuple(leaves), tuple(whole))

    async def _survivor(
        self, connection: AsyncConnection, day: int, mine: set[int], stored: set[tuple[str, int]]
    ) -> bool:
        """Return whether anything else that is sealed under a leaf of this day must be kept."""
        beside = {leaf for _, leaf in stored if leaf >> DAY_SHIFT == day}
        for table in (calls, waivers, retention_rules, users, exports, erasures):
            leaf = table.c.leaf
            inside = leaf.between(day << DAY_SHIFT, ((day + 1) << DAY_SHIFT) - 1)
            beside.update(await connection.scalars(sa.select(leaf).where(inside)))
        return any(self._keys.keeps(leaf) for leaf in beside - mine)


async def _index_leaves(connection: AsyncConnection, wanted: Iterable[int]) -> list[int]:
    """Return the leaves whose secrets make the search tokens of some days."""
    found: list[int] = []
    for part in batches(sorted(wanted)):
        found += await connection.scalars(sa.select(days.c.leaf).where(days.c.day.in_(part)))
    return found


async def _request(connection: AsyncConnection, record: Any, mine: Sequence[ErasureTarget]) -> Request:
    """Return a request for the cut log, with call ids only if somebody named them: retention may take 100,000."""
    named: list[str] = []
    if record.cause == rows.REQUEST:
        named = [*(d.call for d in mine), *await rows.without_leaf(connection, record.id)]
    return Request(
        record.id,
        record.cause,
        record.requested_by,
        from_micros(record.requested_at),
        record.approved_by,
        None if record.approved_at is None else from_micros(record.approved_at),
        tuple(sorted(named)),
        tuple(sorted(d.leaf for d in mine)),
    )


async def _expect_nothing(connection: AsyncConnection, targets: Sequence[ErasureTarget]) -> None:
    by_day: dict[int, list[int]] = {}
    for d in targets:
        by_day.setdefault(d.leaf >> DAY_SHIFT, []).append(d.leaf)
    left = await connection.scalar(sa.select(calls.c.id).where(calls.c.id.in_([d.call for d in targets])).limit(1))
    for day, leaves in by_day.items():
        asked = sa.select(call_tokens.c.leaf).where(call_tokens.c.day == day, call_tokens.c.leaf.in_(leaves))
        left = left or await connection.scalar(asked.limit(1))
    if left is not None:
        raise NotErased("rows of an erased call still exist", "check the database")
