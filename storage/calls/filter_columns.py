"""The columns with the direction and source of calls, by which lists are filtered.

Both values are also in the sealed details of a row, and the filter is checked there; the columns only select the rows
that are worth opening. `direction` is one of three codes. `source` is a keyed hash of the SBC's address, so a copy of
the database does not reveal the address. Rows written before these columns existed hold NULL until `fill` has run;
while there are any, the columns are not used and every row is opened.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from struct import Struct
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls.call_row import STATE_CODES, BadDetails, CallState, Direction, Query, canonical_source
from storage.calls.sealed_row import open_row
from storage.database.database import Database
from storage.database.schema import calls
from storage.errors import SealBroken
from storage.keys.key_tree import LAST_LEAF
from storage.keys.row_keys import Keys

LABEL_SOURCE = "source"  # label of the hash key: a secret of the last leaf, which is never cut
FEW = 300  # if at most this many calls match, each is opened (15 ms) instead of looking up tokens
AT_ONCE = 200  # rows opened and written between two pauses: 10 ms
UNKNOWN = 0  # neither NULL nor a direction or source
DIRECTION_CODES: Mapping[object, int] = {Direction.INBOUND: 1, Direction.OUTBOUND: 2, Direction.INTERNAL: 3}
_HASH = Struct(">q")


@dataclass(frozen=True, slots=True)
class FilterValues:
    """The column values of a matching call; None means any."""

    direction: int | None = None
    """Code of the direction."""
    source: int | None = None
    """Hash of the source."""
    rarest: sa.ColumnElement[int] | None = field(default=None, compare=False)
    """The column whose index finds the rows, because few calls have its value; None if there is no such column."""


ANY = FilterValues()


def columns(keys: Keys, details: Mapping[str, Any]) -> dict[str, int]:
    """Return the values of a call's columns."""
    source = str(details.get("source") or "")
    return {
        "direction": DIRECTION_CODES.get(details.get("direction"), UNKNOWN),  # a StrEnum equals its text
        "source": _hash(keys, source) if source else UNKNOWN,
    }


async def asked_for(connection: AsyncConnection, keys: Keys, query: Query) -> FilterValues:
    """Return the column values that select the calls of a query."""
    if query.direction is None and query.source is None:
        return ANY
    if await connection.scalar(sa.select(calls.c.leaf).where(_UNTOLD).limit(1)) is not None:
        return ANY
    direction = None if query.direction is None else DIRECTION_CODES[query.direction]
    found = FilterValues(direction, None if query.source is None else _hash(keys, query.source))
    return replace(found, rarest=await _rarest(connection, found, query))


async def _rarest(connection: AsyncConnection, found: FilterValues, query: Query) -> sa.ColumnElement[int] | None:
    """Return a column whose value is in few enough calls to check each of them, None if there is no such column.

    Without this, a rare direction would be searched among millions of calls from one source.
    """
    wanted = equalities(query, found)
    for column, value in wanted if len(wanted) > 1 else ():
        some = sa.select(calls.c.day).where(column == value).limit(FEW + 1).subquery()
        if int(await connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0) <= FEW:
            return column
    return None


def equalities(query: Query, found: FilterValues) -> list[tuple[sa.ColumnElement[int], int]]:
    """Return the columns that a query filters by, with their values; the column whose index finds the rows is first."""
    asked: list[tuple[sa.ColumnElement[int], int]] = []
    if found.source is not None:
        asked.append((calls.c.source, found.source))
    if found.direction is not None:
        asked.append((calls.c.direction, found.direction))
    if query.state is not None:
        usual = query.state is CallState.COMPLETE
        asked.insert(len(asked) if usual else 0, (calls.c.state, STATE_CODES[CallState(query.state)]))
    return sorted(asked, key=lambda each: each[0] is not found.rarest)


async def fill(database: Database, keys: Keys, pause: Callable[[], Awaitable[object]]) -> int:
    """Fill the columns of rows that an earlier version wrote; return how many there were. Raises StorageError."""
    count = 0
    while True:
        asked = sa.select(*(c for c in calls.c if c.name not in ("direction", "source", "version")))
        async with database.reading() as connection:
            records = (await connection.execute(asked.where(_UNTOLD).order_by(calls.c.leaf).limit(AT_ONCE))).all()
        if not records:
            return count
        values = await asyncio.to_thread(_values, keys, records)
        async with database.writing() as connection:
            await connection.execute(_FILL, values)
        count += len(records)
        await pause()


def _values(keys: Keys, records: Sequence[Any]) -> list[dict[str, Any]]:
    found = []
    for record in records:
        try:
            opened = open_row(keys, record)
        except (SealBroken, BadDetails):
            opened = None  # damaged: `recorder verify` names it
        told = columns(keys, opened[0].details if opened else {})
        found.append({"b_id": record.id, "b_direction": told["direction"], "b_source": told["source"]})
    return found


def _hash(keys: Keys, source: str) -> int:
    key = keys.secret(LAST_LEAF, LABEL_SOURCE)
    found: int = _HASH.unpack_from(hmac.digest(key, canonical_source(source).encode("utf-8", "replace"), "sha256"))[0]
    return found


_UNTOLD = calls.c.direction.is_(None)
_FILL = (
    calls.update()
    .where(calls.c.id == sa.bindparam("b_id"), _UNTOLD)
    .values(direction=sa.bindparam("b_direction"), source=sa.bindparam("b_source"))
)
