"""The index of one customer's calls: write, find, remove.

The personal part of a row is sealed under the call's own leaf. Its search tokens are made with an index key of the day:
the "index" secret of a separate leaf, which the table `days` names. Once both leaves are cut, the row is removed and
the day is indexed again, nobody can read the row or its tokens in any copy. A row whose leaf was cut is treated as
missing, even in a restored copy.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.batches import BATCH, batches
from storage.calls import filter_columns, session_recordings, statements
from storage.calls.call_row import (
    DAY_SHIFT,
    MAX_LIMIT,
    STATE_CODES,
    Amended,
    BadDetails,
    CallRow,
    CallState,
    Fresh,
    Page,
    Query,
    columns,
    pack,
)
from storage.calls.day_keys import DayKeys
from storage.calls.sealed_row import Batch, open_row
from storage.calls.search import NEWEST, READ_COLUMNS, bearing, candidates, needles_of, search
from storage.calls.search_tokens import tokens
from storage.database.database import Database
from storage.database.schema import call_tokens, calls, days
from storage.errors import Forgotten, SealBroken
from storage.ids import is_id
from storage.keys.row_keys import LABEL_DETAILS, LABEL_INDEX, Keys, context
from storage.timestamps import from_micros

__all__ = ["Batch", "CallRow", "CallState", "Calls", "Page", "Query"]

FEW = 10  # calls to seal, or to make tokens for, before other tasks run
PIECE = 2_000  # calls whose tokens are removed in one transaction: about 30,000 rows, 50 ms
_BY_ID = calls.c.id.in_(sa.bindparam("ids", expanding=True))
_READ = sa.select(*READ_COLUMNS).where(_BY_ID)
_LIVE = calls.c.state == STATE_CODES[CallState.RECORDING]
_PLACES = sa.select(calls.c.id, calls.c.leaf, calls.c.day).where(_BY_ID)

V = TypeVar("V")
Joined = Callable[[AsyncConnection, Sequence[str]], Awaitable[None]]
"""Called in the transaction that writes new calls of a session, with their ids."""


class Calls:
    """The calls of one customer; numbers in queries are read as numbers of `country`.

    `node`: number of the node that writes the rows. `several`: other nodes write rows too, and only its own node
    changes the row of a live call; `joined` is then called with the new calls of a session
    (storage.calls.session_recordings).
    """

    def __init__(
        self,
        database: Database,
        keys: Keys,
        country: str,
        node: int = 0,
        *,
        several: bool = False,
        joined: Joined | None = None,
    ) -> None:
        self._joined = joined
        self._database = database
        self._keys = keys
        self._country = country
        self._node = node
        self._several = several
        self._day_keys = DayKeys(keys)
        self._upsert = statements.upsert(database.dialect, several=several)
        self._add_tokens = statements.add_tokens(database.dialect)

    async def put(self, rows: Sequence[CallRow], forms: Sequence[Sequence[str]]) -> int:
        """Write calls with their search forms in one transaction; return how many were written.

        Writing the same calls again changes nothing. A finished call does not go back to recording, and the hold of a
        known call stays as it is. A call is not written if its leaf was cut or if another node is recording it.
        """
        async with self._database.writing() as connection:
            return await self.put_in(connection, rows, forms)

    async def put_in(self, connection: AsyncConnection, rows: Sequence[CallRow], forms: Sequence[Sequence[str]]) -> int:
        """Write calls as `put` does, in the caller's writing transaction."""
        if len(rows) != len(forms):
            raise ValueError("every call needs its search forms")
        given = {row.id: (row, tuple(f)) for row, f in zip(rows, forms, strict=True)}
        cuts = self._keys.generation
        before = await _existing(connection, tuple(given))
        sealed = await self._sealed(given, before)
        by_day = await self._keys_of(connection, {given[id][0].day for id in sealed})
        if self._keys.generation != cuts:  # a day key made after a call was cut could read that call's tokens
            sealed = {id: each for id, each in sealed.items() if not self._cut(given[id][0].leaf)}
        await self._write(connection, given, sealed, before)
        await self._write_tokens(connection, given, sealed, before, by_day)
        if self._joined is not None:
            await self._joined(connection, [id for id in sealed if id not in before])
        return len(sealed)

    async def get(self, id: str) -> CallRow | None:
        """Return one call, None if it is unknown or erased; raises SealBroken, BadDetails.

        Text that is not an id is never sent to the database: it may be a phone number, and servers log queries.
        """
        if not is_id(id):
            return None
        async with self._database.reading() as connection:
            record = (await connection.execute(sa.select(*READ_COLUMNS).where(calls.c.id == id))).first()
        opened = open_row(self._keys, record) if record is not None else None
        return opened[0] if opened else None

    async def others(self, id: str) -> tuple[str, ...]:
        """Return the ids of the recordings of the same session by other nodes (storage.calls.session_recordings)."""
        async with self._database.reading() as connection:
            return tuple((await session_recordings.others_of(connection, [id])).get(id, ()))

    async def find(self, query: Query, fresh: Sequence[Fresh] = ()) -> Page:
        """Return a page of calls, newest first, including `fresh` ones that are not indexed; raises BadCursor."""
        async with self._database.reading() as connection:
            return await search(connection, self._keys, self._day_keys, query, self._country, fresh)

    async def every(self, query: Query) -> AsyncIterator[CallRow]:
        """Yield all calls that a query finds, page by page."""
        query = replace(query, limit=MAX_LIMIT)
        while True:
            page = await self.find(query)
            for row in page.items:
                yield row
            if page.next_cursor is None:
                return
            query = replace(query, cursor=page.next_cursor)

    async def in_batches(self, query: Query, size: int) -> AsyncIterator[Batch]:
        """Yield all calls that a query finds, newest first, in sealed batches; open them outside the event loop.

        This suits exports of any length: each call is read once, and none is opened in the event loop.
        """
        async with self._database.reading() as connection:
            leaves = await candidates(connection, self._day_keys, query, self._country)
        needles = needles_of(query, self._country)
        for part in batches(leaves, size):
            asked = sa.select(*READ_COLUMNS).where(calls.c.leaf.in_(part)).order_by(*NEWEST)
            async with self._database.reading() as connection:
                records = (await connection.execute(asked)).all()
            yield Batch(len(leaves), self._keys, records, query, needles)

    async def bearing(self, connection: AsyncConnection, leaves: Sequence[int], forms: Sequence[str]) -> list[int]:
        """Return which of these leaves, newest days first, may have any of these search forms; open them to check."""
        return await bearing(connection, self._day_keys, leaves, forms)

    def seal(self, row: CallRow, forms: Sequence[str]) -> bytes:
        """Seal the personal part of a row, from any thread; raises Forgotten."""
        return self._keys.seal(row.leaf, LABEL_DETAILS, pack(row.details, forms), context(row.id))

    async def amend(self, connection: AsyncConnection, found: Sequence[Amended]) -> int:
        """Write changes to calls that are still as they were read; return how many calls changed."""
        versions: dict[str, int] = {}
        for part in batches([each.id for each in found]):
            asked = sa.select(calls.c.id, calls.c.version).where(calls.c.id.in_(part)).with_for_update()
            versions.update((row.id, row.version) for row in await connection.execute(asked))
        same = [each for each in found if versions.get(each.id) == each.version]
        for part in batches([each.id for each in same if each.sealed is None]):
            await connection.execute(calls.update().where(calls.c.id.in_(part)).values(matched=True))
        # A day key made after a call was cut could read that call's tokens.
        anew = [each for each in same if each.sealed is not None and not self._cut(each.leaf)]
        if anew:
            values = [{"b_id": a.id, "b_sealed": a.sealed, "b_erase_after": a.erase_after} for a in anew]
            await connection.execute(statements.AMEND, values)
            await self._amend_tokens(connection, anew)
        return len(anew)

    async def _amend_tokens(self, connection: AsyncConnection, anew: Sequence[Amended]) -> None:
        by_day = await self._keys_of(connection, {each.leaf >> DAY_SHIFT for each in anew})
        gained, lost = [], []
        for each in anew:
            day = each.leaf >> DAY_SHIFT
            gained += [{"day": day, "token": t, "leaf": each.leaf} for t in tokens(by_day[day], each.gained)]
            lost += [{"b_day": day, "b_token": t, "b_leaf": each.leaf} for t in tokens(by_day[day], each.lost)]
        if lost:
            await connection.execute(statements.DELETE_TOKEN, lost)
        if gained:
            await connection.execute(self._add_tokens, sorted(gained, key=lambda t: (t["day"], t["token"])))

    async def unfinished(self) -> tuple[tuple[str, int], ...]:
        """Return id and leaf of the calls that this node is recording, or was recording when it crashed."""
        asked = sa.select(calls.c.id, calls.c.leaf).where(_LIVE, calls.c.node == self._node).order_by(*NEWEST)
        async with self._database.reading() as connection:
            return tuple((row.id, row.leaf) for row in await connection.execute(asked))

    async def elsewhere(self) -> frozenset[str]:
        """Return the ids of the calls that other nodes are recording; only those nodes may end them."""
        async with self._database.reading() as connection:
            asked = sa.select(calls.c.id).where(_LIVE, calls.c.node != self._node)
            return frozenset(await connection.scalars(asked))

    async def unknown(self, recordings: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
        """Return the recordings, as id and leaf, that have no row."""
        wanted = list(dict.fromkeys(recordings))
        missing: list[tuple[str, int]] = []
        for part in batches(wanted):
            async with self._database.reading() as connection:
                known = set(await connection.scalars(_PLACES, {"ids": [id for id, _ in part]}))
            missing += [each for each in part if each[0] not in known]
        return tuple(missing)

    async def retained(self, ids: Iterable[str]) -> dict[str, datetime | None]:
        """Return when retention ends for each of these calls that has ended; None if it never ends."""
        found: dict[str, datetime | None] = {}
        for part in batches(list(dict.fromkeys(ids))):
            asked = sa.select(calls.c.id, calls.c.erase_after).where(calls.c.id.in_(part), sa.not_(_LIVE))
            async with self._database.reading() as connection:
                for row in await connection.execute(asked):
                    found[row.id] = None if row.erase_after is None else from_micros(row.erase_after)
        return found

    async def count(self) -> int:
        """Count the rows, including those that can no longer be opened."""
        async with self._database.reading() as connection:
            return int(await connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(days.c.calls), 0))) or 0)

    async def total_bytes(self) -> int:
        """Return how many bytes all calls take in the vault; reads every row."""
        async with self._database.reading() as connection:
            return int(await connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(calls.c.size_bytes), 0))) or 0)

    async def remove(self, ids: Iterable[str]) -> int:
        """Remove calls with their tokens, even if they can no longer be opened; return how many there were."""
        async with self._database.writing() as connection:
            gone = tuple((await _existing(connection, tuple(ids), _PLACES)).values())
            for day in {record.day for record in gone}:
                leaves = [record.leaf for record in gone if record.day == day]
                for part in batches(leaves):
                    await _remove_tokens(connection, day, part)
                    await connection.execute(calls.delete().where(calls.c.leaf.in_(part)))
                await connection.execute(statements.COUNT, {"b_day": day, "b_more": -len(leaves)})
            await connection.execute(days.delete().where(days.c.calls <= 0))
        return len(gone)

    async def remove_tokens(self, day: int) -> bool:
        """Remove all search tokens of a day, or return False if its key was not cut; the caller then calls `reindex`.

        To find the tokens of a single call, all tokens of the day would have to be scanned.
        """
        asked = sa.select(days.c.leaf, days.c.calls).where(days.c.day == day)
        async with self._database.reading() as connection:
            found = (await connection.execute(asked)).first()
        if found is None or not self._cut(found.leaf):
            return False
        pieces = found.calls // PIECE + 1
        for piece in range(pieces):  # one transaction each, so that others can write in between
            last = -(1 << 63) + ((piece + 1) << 64) // pieces - 1
            async with self._database.writing() as connection:
                found = (await connection.execute(asked.with_for_update())).first()
                if found is not None and not self._cut(found.leaf):
                    return False  # a call written meanwhile has renewed all tokens of the day
                await connection.execute(
                    call_tokens.delete().where(call_tokens.c.day == day, call_tokens.c.token <= last)
                )
        return True

    def _cut(self, leaf: int) -> bool:
        """Return whether the leaf of a call, or of the index key of a day, was cut."""
        try:
            self._keys.secret(leaf, LABEL_INDEX)
        except Forgotten:
            return True
        return False

    async def index_leaf(self, day: int) -> int | None:
        """Return the leaf that holds the index key of a day; an erasure cuts it together with the call's own leaf."""
        async with self._database.reading() as connection:
            return await connection.scalar(sa.select(days.c.leaf).where(days.c.day == day))

    async def reindex(self, day: int) -> int | None:
        """Renew the tokens of a day under a new leaf if its key was cut; return how many calls could be opened.

        Return None if the key was not cut: if it were replaced, the old key could read old copies for ever.
        """
        async with self._database.writing() as connection:
            leaf = await connection.scalar(sa.select(days.c.leaf).where(days.c.day == day))
            return await self._reindex(connection, day) if leaf is not None and self._cut(leaf) else None

    async def _sealed(
        self, given: Mapping[str, tuple[CallRow, tuple[str, ...]]], before: Mapping[str, Any]
    ) -> dict[str, bytes]:
        """Seal the calls that may be written."""
        sealed = {}
        for number, (id, (row, forms)) in enumerate(given.items()):
            await _let_others(number)
            old = before.get(id)
            finished = old is not None and old.state != STATE_CODES[CallState.RECORDING]
            if finished and row.state == CallState.RECORDING:
                continue
            if self._several and old is not None and not finished and old.node != self._node:
                continue  # another node records it
            try:
                sealed[id] = self.seal(row, forms)
            except Forgotten:
                continue
            except BadDetails:
                if not self._cut(row.leaf):  # an erased call needs no tokens
                    raise
        return sealed

    async def _keys_of(self, connection: AsyncConnection, wanted: set[int]) -> dict[int, bytes]:
        """Return the index key of each day; allocate a new leaf for a day that has none or whose leaf was cut."""
        found = await connection.execute(statements.INDEX_LEAVES, {"days": list(wanted)})
        leaves = {row.day: row.leaf for row in found}
        keys = {}
        for day in wanted:
            if day not in leaves:
                leaves[day] = self._keys.allocate(day)
                await connection.execute(days.insert(), {"day": day, "leaf": leaves[day], "calls": 0})
            try:
                keys[day] = self._keys.secret(leaves[day], LABEL_INDEX)
            except Forgotten:
                await self._reindex(connection, day)
                keys[day] = self._keys.secret(
                    await connection.scalar(sa.select(days.c.leaf).where(days.c.day == day)) or 0, LABEL_INDEX
                )
        return keys

    async def _write(
        self,
        connection: AsyncConnection,
        given: Mapping[str, tuple[CallRow, Any]],
        sealed: Mapping[str, bytes],
        before: Mapping[str, Any],
    ) -> None:
        rows = [given[id][0] for id in sealed]
        told = [{**columns(row), **filter_columns.columns(self._keys, row.details)} for row in rows]
        if self._joined is not None:
            for row, each in zip(rows, told, strict=True):
                each["session"] = session_recordings.session_of(self._keys, row.details)
        values = [
            {
                "b_hold": each.pop("hold"), "b_id": each["id"], **each,
                "node": self._node, "version": 1, "sealed": sealed[each["id"]],
            }
            for each in told
        ]  # fmt: skip
        if not values:
            return
        await connection.execute(self._upsert, values)
        fresh: dict[int, int] = {}
        for id in sealed:
            if id not in before:
                fresh[given[id][0].day] = fresh.get(given[id][0].day, 0) + 1
        for day, count in fresh.items():
            await connection.execute(statements.COUNT, {"b_day": day, "b_more": count})

    async def _write_tokens(
        self,
        connection: AsyncConnection,
        given: Mapping[str, tuple[CallRow, tuple[str, ...]]],
        sealed: Iterable[str],
        before: Mapping[str, Any],
        by_day: Mapping[int, bytes],
    ) -> None:
        """Write the tokens of calls, and delete the tokens of search forms that they no longer have."""
        fresh: list[tuple[int, int, int]] = []
        stale: list[dict[str, int]] = []
        for number, id in enumerate(sealed):
            await _let_others(number)
            row, forms = given[id]
            key = by_day[row.day]
            try:
                opened = open_row(self._keys, before[id]) if id in before else None
            except (SealBroken, BadDetails):  # the tokens of the damaged row are unknown; the new row replaces it
                opened = None
                await _remove_tokens(connection, row.day, [row.leaf])
            else:
                if id in before and opened is None:
                    continue  # cut after it was sealed: its erasure removes the row and its tokens
            old = set(tokens(key, opened[1])) if opened else set()
            new = set(tokens(key, forms))
            fresh += [(row.day, t, row.leaf) for t in new - old]
            stale += [{"b_day": row.day, "b_token": t, "b_leaf": row.leaf} for t in old - new]
        if stale:
            await connection.execute(statements.DELETE_TOKEN, stale)
        if fresh:
            await statements.new_tokens(connection, sorted(fresh))

    async def _reindex(self, connection: AsyncConnection, day: int) -> int:
        """Renew the tokens of a day in batches: a day may have 100,000 calls, and the event loop has other work."""
        leaf = self._keys.allocate(day)
        key = self._keys.secret(leaf, LABEL_INDEX)
        await connection.execute(call_tokens.delete().where(call_tokens.c.day == day))
        await connection.execute(days.update().where(days.c.day == day).values(leaf=leaf))
        kept, last = 0, -1
        while True:
            asked = sa.select(*READ_COLUMNS).where(calls.c.day == day, calls.c.leaf > last)
            records = (await connection.execute(asked.order_by(calls.c.leaf).limit(BATCH))).all()
            opened, fresh = await asyncio.to_thread(self._tokens_of, records, day, key)
            kept += opened
            for part in batches(fresh):
                await statements.new_tokens(connection, part)
            if len(records) < BATCH:
                return kept
            last = records[-1].leaf

    def _tokens_of(self, records: Sequence[Any], day: int, key: bytes) -> tuple[int, list[tuple[int, int, int]]]:
        """Open some calls of a day; return how many could be opened, and their tokens sorted by the table's key."""
        kept, found = 0, []
        for record in records:
            try:
                opened = open_row(self._keys, record)
            except (SealBroken, BadDetails):
                continue  # a damaged row must not stop the indexing of its day; `recorder verify` reports it
            if opened:
                kept += 1
                found += [(t, record.leaf) for t in tokens(key, opened[1])]
        return kept, [(day, token, leaf) for token, leaf in sorted(found)]


async def _let_others(number: int) -> None:
    """Let other tasks run before every tenth call: two hundred calls in a row take 20 ms."""
    if number % FEW == FEW - 1:
        await asyncio.sleep(0)


async def _remove_tokens(connection: AsyncConnection, day: int, leaves: Sequence[int]) -> None:
    """Remove the tokens of calls whose search forms are unknown; scans the tokens of the whole day."""
    await connection.execute(call_tokens.delete().where(call_tokens.c.day == day, call_tokens.c.leaf.in_(leaves)))


async def _existing(connection: AsyncConnection, ids: Sequence[str], asked: sa.Select[Any] = _READ) -> dict[str, Any]:
    found = {}
    for part in batches(ids):
        for record in await connection.execute(asked, {"ids": part}):
            found[record.id] = record
    return found
