"""Search of the index: newest calls first, page by page; parties are found through tokens.

A query for a party becomes needles (storage.search_forms); the probe of each needle becomes one token for each day that
has calls. Days are probed newest first, in growing groups, until the page is full. Every call found is opened and
checked against the needles, so chance matches of a token and wrong combinations of words are dropped.

Calls that are not in the index yet are passed in as `fresh` and matched by the same conditions.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import search_forms
from storage.batches import batches
from storage.calls.call_row import (
    DAY_SHIFT,
    MAX_LIMIT,
    STATE_CODES,
    CallRow,
    CallState,
    Fresh,
    Page,
    Position,
    Query,
    met,
)
from storage.calls.day_keys import DayKeys
from storage.calls.filter_columns import ANY, FEW, FilterValues, asked_for, equalities
from storage.calls.sealed_row import open_row
from storage.calls.search_tokens import token
from storage.calls.session_recordings import together
from storage.database.schema import call_tokens, calls, days
from storage.errors import Forgotten, StorageError
from storage.keys.row_keys import Keys
from storage.search_forms import Needle
from storage.timestamps import day_of, to_micros

FIRST_DAYS = 16  # days probed at first: in more days a common name has thousands of calls, and a page needs 50
FIRST_CALLS = 20_000  # the same if a day has many calls, but always one day
MAX_DAYS = 2048  # days probed at once; more would block the event loop for over 10 ms
AT_ONCE = 1_000  # ms; longest dialog of a client that has gone on to another node
FRESH_AT_ONCE = 10  # rows of fresh calls built before other tasks run

READ_COLUMNS = tuple(c for c in calls.c if c.name not in ("version", "direction", "source", "session"))
NEWEST = (calls.c.day.desc(), calls.c.started_at.desc(), calls.c.id.desc())
# "+ 0" keeps the planner from walking all calls in this order instead of looking up the few that a token found.
_NEWEST_OF_FEW = ((calls.c.day + 0).desc(), calls.c.started_at.desc(), calls.c.id.desc())

Probe = tuple[int, int]
"""Day and token."""

Day = tuple[int, int, int]
"""A day that has calls, the leaf of its index key, and how many calls it has."""

Way = Sequence[Probe] | int | None
"""Which rows to read: those that the tokens of these probes find, those of a day, or all."""


async def search(
    connection: AsyncConnection, keys: Keys, day_keys: DayKeys, query: Query, country: str, fresh: Sequence[Fresh] = ()
) -> Page:
    """Return a page of calls as if the `fresh` calls were in the index; raises BadCursor."""
    limit = max(1, min(query.limit, MAX_LIMIT))
    after = Position.parse(query.cursor) if query.cursor else None
    needles, filters = needles_of(query, country), await asked_for(connection, keys, query)
    walk = _Walk(connection, keys, query, limit + 1, after, needles, filters, frozenset(each.id for each in fresh))
    if needles is None or await _few(connection, query, after, filters):
        await walk.run(None)
    else:
        forms = tuple(dict.fromkeys(needle.probe for needle in needles))
        day_keys.refresh()
        for way in _ways(day_keys, await _days(connection, query, after), forms):
            if await walk.run(way):
                break
    found = walk.found
    if fresh:
        found += await _fresh(connection, fresh, query, limit + 1, after, needles)
        found.sort(key=Position.of, reverse=True)
    more = len(found) > limit
    cursor = str(Position.of(found[limit - 1])) if more else None
    return Page(tuple(found[:limit]), cursor, walk.unreadable)


async def _fresh(
    connection: AsyncConnection,
    fresh: Sequence[Fresh],
    query: Query,
    want: int,
    after: Position | None,
    needles: Sequence[Needle] | None,
) -> list[CallRow]:
    """Return the newest matching calls of `fresh`, each with the hold that only the index knows."""
    found: list[CallRow] = []
    may = sorted((each for each in fresh if each.may_meet(query, after)), key=lambda e: e.position, reverse=True)
    for number, each in enumerate(may, 1):
        if number % FRESH_AT_ONCE == 0:
            await asyncio.sleep(0)
        made = each.made()
        if made is None or not _meant(made[0], made[1], query, needles):
            continue
        found.append(made[0])
        if len(found) == want and query.hold is None:
            break
    told = await _told(connection, [row.id for row in found])
    second = await _second(connection, query, [row.id for row in found]) if query.each_once else set()
    found = [replace(row, **told.get(row.id, {})) for row in found if row.id not in second]
    return [row for row in found if query.hold is None or row.hold is query.hold][:want]


def _meant(row: CallRow, forms: Sequence[str], query: Query, needles: Sequence[Needle] | None) -> bool:
    if query.state is not None and row.state is not query.state:
        return False
    return query.meets(row.details) and (needles is None or met(needles, forms))


async def _told(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the holds of these calls, which only the index knows."""
    found = {}
    for part in batches(ids):
        asked = sa.select(calls.c.id, calls.c.hold).where(calls.c.id.in_(part))
        for record in await connection.execute(asked):
            found[record.id] = {"hold": bool(record.hold)}
    return found


async def _second(connection: AsyncConnection, query: Query, ids: Sequence[str]) -> set[str]:
    """Return which of these calls are not listed because another recording of their session is."""
    found = set[str]()
    for part in batches(ids):
        asked = sa.select(calls.c.id).where(calls.c.id.in_(part), _shown_instead(query))
        found.update(await connection.scalars(asked))
    return found


async def candidates(connection: AsyncConnection, day_keys: DayKeys, query: Query, country: str) -> list[int]:
    """Return the leaves of all calls that may match a query, newest first; the caller opens and checks them.

    It reads everything at once: with pages, every page would look up all tokens of a person again.
    """
    filters = await asked_for(connection, day_keys.keys, query)
    conditions = _conditions(query, None, filters)
    needles = needles_of(query, country)
    if needles is None:
        asked = sa.select(calls.c.leaf).where(*conditions).order_by(*NEWEST)
        return list(await connection.scalars(asked))
    return await having(connection, day_keys, [needle.probe for needle in needles], query, filters)


async def having(
    connection: AsyncConnection, day_keys: DayKeys, forms: Iterable[str], query: Query, filters: FilterValues = ANY
) -> list[int]:
    """Return the leaves of all calls that may match and have any of these search forms, newest first."""
    forms = tuple(dict.fromkeys(forms))
    day_keys.refresh()
    found: dict[int, None] = {}
    for way in _ways(day_keys, await _days(connection, query, None), forms):
        asked = _along(sa.select(calls.c.leaf), connection.dialect.name, way, query, None, filters)
        found.update(dict.fromkeys(await connection.scalars(asked)))
    return list(found)


async def bearing(
    connection: AsyncConnection, day_keys: DayKeys, leaves: Sequence[int], forms: Sequence[str]
) -> list[int]:
    """Return which of these leaves, newest days first, may have any of these search forms; the caller checks them.

    Returns all leaves if there are no more of them than tokens to look up. Otherwise returns the leaves that a token
    finds, and all leaves of days whose tokens cannot be computed.
    """
    if not leaves:
        return []
    asked = sa.select(days.c.day, days.c.leaf, days.c.calls)
    asked = asked.where(days.c.day <= leaves[0] >> DAY_SHIFT, days.c.day >= leaves[-1] >> DAY_SHIFT)
    records = [(row.day, row.leaf, row.calls) for row in await connection.execute(asked)]
    if len(records) * len(forms) >= len(leaves):
        return list(leaves)
    probed, found = set[int](), set[int]()
    day_keys.refresh()
    for way in _ways(day_keys, records, forms, MAX_DAYS):
        if isinstance(way, int):
            continue
        probed.update(day for day, _ in way)
        table = _probe_table(connection.dialect.name, way)
        hit = sa.and_(call_tokens.c.day == table.day, call_tokens.c.token == table.token)
        found.update(
            await connection.scalars(sa.select(call_tokens.c.leaf).select_from(table.source.join(call_tokens, hit)))
        )
    return [leaf for leaf in leaves if leaf in found or leaf >> DAY_SHIFT not in probed]


def needles_of(query: Query, country: str) -> tuple[Needle, ...] | None:
    """Return the needles of a query for a party, a user or a related call; None for any other query."""
    if query.user is not None:
        return (Needle(f"u:{query.user}"), Needle(f"k:{query.user}"))
    if query.party is not None:
        return search_forms.asked(query.party.reveal(), country, exact=query.exact)
    return tuple(map(Needle, search_forms.of_names(query.related))) if query.related else None


async def _few(connection: AsyncConnection, query: Query, after: Position | None, filters: FilterValues) -> bool:
    """Return whether so few calls meet the other conditions that opening them is faster than looking up tokens."""
    if query.state is None and not query.hold and filters == ANY:
        return False
    some = sa.select(calls.c.id).where(*_conditions(query, after, filters)).limit(FEW + 1).subquery()
    return int(await connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0) <= FEW


class _Walk:
    """A running search: reads rows in order and keeps those that match."""

    def __init__(
        self,
        connection: AsyncConnection,
        keys: Keys,
        query: Query,
        want: int,
        after: Position | None,
        needles: Sequence[Needle] | None,
        filters: FilterValues,
        fresh: frozenset[str],
    ) -> None:
        """`fresh`: ids of calls that are newer than their rows; the rows are skipped."""
        self.found: list[CallRow] = []
        self.unreadable = 0
        self._connection = connection
        self._keys = keys
        self._query = query
        self._want = want
        self._after = after
        self._needles = needles
        self._filters = filters
        self._fresh = fresh

    async def run(self, way: Way) -> bool:
        """Read these rows; return True as soon as there are enough calls."""
        while len(self.found) < self._want:
            asked, columns = self._want - len(self.found), sa.select(*READ_COLUMNS)
            dialect = self._connection.dialect.name
            statement = _along(columns, dialect, way, self._query, self._after, self._filters)
            records = (await self._connection.execute(statement.limit(asked))).all()
            for record in records:
                self._take(record)
            if len(records) < asked:
                return False
        return True

    def _take(self, record: Any) -> None:
        here = Position(record.day, record.started_at, record.id)
        if here == self._after:
            return  # the same call, found by a second token
        self._after = here
        if record.id in self._fresh:
            return
        try:
            opened = open_row(self._keys, record)
        except StorageError:
            self.unreadable += 1
            return
        if opened is None or not self._query.meets(opened[0].details):
            return
        if self._needles is None or met(self._needles, opened[1]):
            self.found.append(opened[0])


class _ProbeTable:
    """Probes as a table in a statement."""

    def __init__(self, source: sa.FromClause, day: sa.ColumnElement[int], token: sa.ColumnElement[int]) -> None:
        self.source = source
        self.day = day
        self.token = token


def _probe_table(dialect: str, probes: Sequence[Probe]) -> _ProbeTable:
    """Return any number of probes as one or two parameters, so that the statement is compiled and planned once."""
    if dialect == "postgresql":
        day_list = sa.literal([day for day, _ in probes], ARRAY(sa.Integer))
        token_list = sa.literal([token for _, token in probes], ARRAY(sa.BigInteger))
        pair = sa.column("day", sa.Integer), sa.column("token", sa.BigInteger)
        rows = sa.func.unnest(day_list, token_list).table_valued(*pair, name="probe").render_derived()
        return _ProbeTable(rows, rows.c.day, rows.c.token)
    text = "{" + ",".join([f'"{day}":{token}' for day, token in probes]) + "}"  # a day may occur twice
    columns = sa.column("key", sa.Text), sa.column("value", sa.BigInteger)
    values = sa.func.json_each(text).table_valued(*columns, name="probe")
    return _ProbeTable(values, sa.cast(values.c.key, sa.Integer), values.c.value)


def _along(
    wanted: sa.Select[Any], dialect: str, way: Way, query: Query, after: Position | None, filters: FilterValues
) -> sa.Select[Any]:
    """Add the conditions and the order, newest first, to a statement that selects columns of calls."""
    if way is None or isinstance(way, int):
        of_day = () if way is None else (calls.c.day == way,)
        return wanted.where(*_conditions(query, after, filters), *of_day).order_by(*NEWEST)
    table = _probe_table(dialect, way)
    hit = sa.and_(call_tokens.c.day == table.day, call_tokens.c.token == table.token)
    source = table.source.join(call_tokens, hit).join(calls, calls.c.leaf == call_tokens.c.leaf)
    conditions = _conditions(query, after, filters, looked_up=True)
    return wanted.where(*conditions).select_from(source).order_by(*_NEWEST_OF_FEW)


def _conditions(
    query: Query, after: Position | None, filters: FilterValues, *, looked_up: bool = False
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions for rows; `looked_up`: tokens find the rows, so no index of `calls` should be used."""
    found = _filters(query, filters, looked_up=looked_up)
    if query.since is not None:
        found += [calls.c.started_at >= to_micros(query.since), calls.c.day >= day_of(query.since) - 1]
    if query.until is not None:
        found += [calls.c.started_at < to_micros(query.until), calls.c.day <= day_of(query.until) + 1]
    if query.each_once:
        found.append(sa.or_(calls.c.session.is_(None), ~_shown_instead(query)))
    if after is not None:
        place = sa.tuple_(calls.c.day, calls.c.started_at, calls.c.id)
        found.append(place < sa.tuple_(after.day, after.started, after.id))
    return found


def _shown_instead(query: Query) -> sa.Exists:
    """Return the condition that another recording of the same session is listed instead.

    The recording with the smallest leaf is listed. A recording that ended at once comes last: its client had gone on to
    another node, which recorded the whole call.
    """
    other = calls.alias("instead")
    meets = [together(calls, other), _place_in_session(other) < _place_in_session(calls)]
    if query.state is not None:
        meets.append(other.c.state == STATE_CODES[CallState(query.state)])
    if query.since is not None:
        meets.append(other.c.started_at >= to_micros(query.since))
    if query.until is not None:
        meets.append(other.c.started_at < to_micros(query.until))
    return sa.exists().where(*meets)


def _place_in_session(one: Any) -> sa.Tuple:
    """Return the sort key of the recordings of a session; the first one is listed."""
    over_at_once = sa.and_(one.c.state != STATE_CODES[CallState.RECORDING], one.c.duration_ms < AT_ONCE)
    return sa.tuple_(sa.case((over_at_once, 1), else_=0), one.c.leaf)


def _filters(query: Query, filters: FilterValues, *, looked_up: bool) -> list[sa.ColumnElement[bool]]:
    """Return the filters, the rarest first; "+ 0" keeps the planner from using the indexes of the others."""
    found: list[sa.ColumnElement[bool]] = []
    if query.hold:
        found.append(sa.cast(calls.c.hold, sa.Integer) + 0 == 1 if looked_up else calls.c.hold)
    elif query.hold is not None:
        found.append(~calls.c.hold)
    for column, value in equalities(query, filters):
        found.append(column + 0 == value if looked_up or found else column == value)
    return found


async def _days(connection: AsyncConnection, query: Query, after: Position | None) -> list[Day]:
    """Return the days of a query, newest first; a call may begin one day before or after that of its leaf."""
    asked = sa.select(days.c.day, days.c.leaf, days.c.calls).order_by(days.c.day.desc())
    if query.since is not None:
        asked = asked.where(days.c.day >= day_of(query.since) - 1)
    if query.until is not None:
        asked = asked.where(days.c.day <= day_of(query.until) + 1)
    if after is not None:
        asked = asked.where(days.c.day <= after.day)
    return [(row.day, row.leaf, row.calls) for row in await connection.execute(asked)]


def _ways(
    keys: DayKeys, records: Sequence[Day], forms: Sequence[str], first: int | None = None
) -> Iterator[list[Probe] | int]:
    """Yield the probes of groups of days that grow; `first`: number of days in the first group, if known.

    A day whose index leaf was cut is read whole: until it is indexed again, no search may miss its calls, least of all
    the search of another erasure.
    """
    start, size = 0, first or _first_days(records)
    while forms and start < len(records):
        probes: list[Probe] = []
        for day, leaf, _ in records[start : start + size]:
            try:
                key = keys.key(leaf)
            except Forgotten:
                if probes:
                    yield probes
                    probes = []
                if _survives(keys, day):
                    yield day
                continue
            probes += [(day, token(key, form)) for form in forms]
        start, size = start + size, min(size * 4, MAX_DAYS)
        if probes:
            yield probes


def _first_days(records: Sequence[Day]) -> int:
    """Return how many days to probe at first."""
    found = 0
    for number, (_, _, count) in enumerate(records[:FIRST_DAYS]):
        found += count
        if found > FIRST_CALLS:
            return max(1, number)
    return FIRST_DAYS


def _survives(keys: DayKeys, day: int) -> bool:
    """Return whether calls of a day may remain: its last leaf, which no recording has, is cut only with the day."""
    try:
        keys.key(((day + 1) << DAY_SHIFT) - 1)
    except Forgotten:
        return False
    return True
