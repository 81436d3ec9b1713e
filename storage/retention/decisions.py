"""Retention decisions about many calls, made page by page from the columns of their rows.

Direction and source are in columns, the source as a keyed hash; one row of each source is opened to read its address. A
rule about a party is tried only on the calls that the party's search tokens find: these calls are opened, and their
search forms decide. Rows of an earlier version whose columns are not filled in yet are all opened.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.batches import batches
from storage.calls.call_index import Calls
from storage.calls.call_row import DAY_SHIFT, STATE_CODES, CallState, Direction
from storage.calls.filter_columns import DIRECTION_CODES, UNKNOWN
from storage.calls.sealed_row import open_row
from storage.calls.search import NEWEST, READ_COLUMNS
from storage.database.database import Database
from storage.database.schema import calls, holds
from storage.errors import StorageError
from storage.keys.sealing import DeletableKeys
from storage.retention.policy import NEVER, Policy, Ruling, Subject, retention_end, ruling, span_of, subject
from storage.timestamps import DAY_MICROS, to_micros

PAGE = 4_000  # calls decided together: 8 ms of the event loop
PAGES = 5  # read in one transaction
NEWER_THAN_ALL = (1 << 31) - 1, 0, ""  # day, start and id
MAX_SOURCES = 10_000  # most addresses, and most rulings about them, that are cached
_RECORDING = STATE_CODES[CallState.RECORDING]
_DIRECTIONS: Mapping[int | None, Direction] = {code: Direction(str(word)) for word, code in DIRECTION_CODES.items()}
_LOOKED_AT = (calls.c.id, calls.c.leaf, calls.c.started_at, calls.c.ended_at, calls.c.kept_from, calls.c.erase_after)
# Access by position takes a third of the time of access by name; direction and source follow these columns.
_leaf, _direction, _source = itemgetter(1), itemgetter(len(_LOOKED_AT)), itemgetter(len(_LOOKED_AT) + 1)


class Decided(NamedTuple):
    """A finished call with the end of its retention; times in microseconds since 1970-01-01 UTC."""

    id: str
    """Id of the call."""
    leaf: int
    """Its leaf."""
    rule: str | None
    """Id of the rule that decided, None for the default."""
    ended: int
    """End of the call."""
    until: int
    """When its retention ends, or NEVER."""
    stored: int
    """When its retention ends according to its row, or NEVER."""


class Decisions:
    """The decisions about the calls of one customer under one policy."""

    def __init__(self, database: Database, keys: DeletableKeys, index: Calls, policy: Policy) -> None:
        self._database = database
        self._keys = keys
        self._index = index
        self._policy = policy
        self._by_direction = any(rule.direction is not None for rule in policy.rules)
        self._by_source = any(rule.source is not None for rule in policy.rules)
        needles = (needle for rule in policy.rules for needle in rule.needles or ())
        self._by_columns = self._by_direction or self._by_source
        self._forms = tuple(dict.fromkeys(needle.probe for needle in needles))
        self._sources: dict[int, str] = {UNKNOWN: ""}
        self._rulings: dict[tuple[int | None, int | None], tuple[str | None, int]] = {}
        clear = (calls.c.direction, calls.c.source) if self._by_columns else (sa.null(), sa.null())
        self._looked_at = (*_LOOKED_AT, clear[0].label("direction"), clear[1].label("source"))

    @property
    def least_days(self) -> int | None:
        """Return the least number of days for which any call is kept, None if all are kept for ever."""
        spans = [rule.days for rule in self._policy.rules if rule.days is not None]
        default = self._policy.default_days
        return min([*spans, *([] if default is None else [default])], default=None)

    async def all(self) -> AsyncIterator[list[Decided]]:
        """Yield the decisions about all finished calls, page by page, newest first."""
        async for page in self._pages(calls.c.state != _RECORDING, calls.c.ended_at.is_not(None)):
            yield page

    async def due(self, now: datetime) -> AsyncIterator[list[Decided]]:
        """Yield the decisions about calls that are due and not held, page by page, newest first."""
        least = self.least_days
        if least is None:
            return
        moment = to_micros(now)
        latest = moment - least * DAY_MICROS
        held = sa.exists().where(holds.c.call == calls.c.id)
        conditions = (
            calls.c.state != _RECORDING,
            calls.c.ended_at <= latest,
            sa.or_(calls.c.kept_from.is_(None), calls.c.kept_from <= latest),
            ~held,
        )
        # A call ends on the day of its leaf or later, so newer days have no due calls.
        async for page in self._pages(*conditions, before=(latest // DAY_MICROS + 2, 0, "")):
            yield [each for each in page if each.until <= moment]

    async def _pages(
        self, *conditions: sa.ColumnElement[bool], before: tuple[int, int, str] = NEWER_THAN_ALL
    ) -> AsyncIterator[list[Decided]]:
        """Decide about calls older than a position (day, start, id); several pages see one state of the database."""
        asked = sa.select(*self._looked_at).where(*conditions).order_by(*NEWEST).limit(PAGE)
        place = sa.tuple_(calls.c.day, calls.c.started_at, calls.c.id)
        more = True
        while more:
            pages: list[Sequence[Any]] = []
            async with self._database.reading() as connection:
                while more and len(pages) < PAGES:
                    # The only condition on the day: with another, SQLite would read all earlier pages again.
                    page = asked.where(place < sa.tuple_(*map(sa.literal, before)))
                    records: Sequence[Any] = (await connection.execute(page)).all()
                    pages.append(records)
                    more = len(records) == PAGE
                    if more:
                        last = records[-1]
                        before = (last.leaf >> DAY_SHIFT, last.started_at, last.id)
                opened = await self._opened(connection, [record for page_ in pages for record in page_])
            for records in pages:
                yield self._decide(records, opened)
                await asyncio.sleep(0)

    async def _opened(self, connection: AsyncConnection, records: Sequence[Any]) -> dict[int, Subject | None]:
        """Open the calls whose columns are not enough for a decision; return None for a call that cannot be opened."""
        unclear: list[int] = []
        if self._by_columns:
            unclear += [_leaf(record) for record in records if _direction(record) is None]
        if self._forms:
            unclear += await self._index.bearing(connection, list(map(_leaf, records)), self._forms)
        found = await self._open(connection, unclear)
        if self._by_source:
            await self._learn_sources(connection, records, found)
        return found

    async def _learn_sources(
        self, connection: AsyncConnection, records: Sequence[Any], found: dict[int, Subject | None]
    ) -> None:
        """Learn the address of each new source from one of its rows, and add the opened rows to `found`."""
        if len(self._sources) > MAX_SOURCES:
            self._sources = {UNKNOWN: ""}
        if self._sources.keys() >= set(map(_source, records)):
            return
        new = [record for record in records if record.source not in self._sources and record.leaf not in found]
        one_of_each = {record.source: record.leaf for record in new}
        found |= await self._open(connection, one_of_each.values())
        for source, leaf in one_of_each.items():
            inside = found[leaf]
            if inside is not None:
                self._sources[source] = inside.source
        # If the row of a source could not be opened, all its rows are tried.
        rest = [r.leaf for r in new if r.source not in self._sources and r.leaf not in found]
        found |= await self._open(connection, rest)

    async def _open(self, connection: AsyncConnection, leaves: Collection[int]) -> dict[int, Subject | None]:
        found: dict[int, Subject | None] = dict.fromkeys(leaves)
        for part in batches(list(leaves)):
            sealed = (await connection.execute(_SEALED, {"leaves": part})).all()
            found |= await asyncio.to_thread(self._subjects, sealed)
        return found

    def _subjects(self, sealed: Iterable[Any]) -> dict[int, Subject]:
        """Open rows; leave out erased rows, and damaged ones, which `recorder verify` reports."""
        found = {}
        for record in sealed:
            try:
                opened = open_row(self._keys, record)
            except StorageError:
                continue
            if opened is not None:
                found[record.leaf] = subject(*opened)
        return found

    def _decide(self, records: Sequence[Any], opened: Mapping[int, Subject | None]) -> list[Decided]:
        done = []
        rulings = self._rulings
        for id, leaf, _, ended, kept_from, stored, direction, source in records:
            if leaf in opened:
                inside = opened[leaf]
                if inside is None:
                    continue  # no rule can be tried on a call that cannot be opened
                rule, span = _spanned(ruling(inside, self._policy))
            else:
                rule, span = rulings.get((direction, source)) or self._ruling(direction, source)
            until = retention_end(ended, kept_from, span)
            done.append(Decided(id, leaf, rule, ended, until, NEVER if stored is None else stored))
        return done

    def _ruling(self, direction: int | None, source: int | None) -> tuple[str | None, int]:
        """Return rule and microseconds for all calls with these columns that no rule about a party matches."""
        known = _DIRECTIONS.get(direction) if self._by_direction else None
        address = self._sources[source or UNKNOWN] if self._by_source else ""
        found = ruling(Subject(CallState.COMPLETE, None, direction=known, source=address), self._policy)
        if len(self._rulings) > MAX_SOURCES:
            self._rulings.clear()
        spanned = self._rulings[direction, source] = _spanned(found)
        return spanned


def _spanned(found: Ruling) -> tuple[str | None, int]:
    """Return a ruling with its days converted to microseconds; NEVER stands for unlimited retention."""
    rule, days = found
    return rule, span_of(days)


_SEALED = sa.select(*READ_COLUMNS).where(calls.c.leaf.in_(sa.bindparam("leaves", expanding=True)))
