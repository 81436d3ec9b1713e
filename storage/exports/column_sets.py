"""Column sets: named selections of export columns that a customer stores.

    sets = await customer.column_sets.all()                               by name
    kept, fresh = await customer.column_sets.put(text, columns, by=…)     raises TooManySets, NameTaken
    gone = await customer.column_sets.delete(text)

A name is free text, so it is sealed.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.audit.audit_log import AuditNote, unaudited
from storage.database.schema import column_sets
from storage.errors import Forgotten, StorageError
from storage.ids import new_id
from storage.journal.journal import JournaledRows, dropped
from storage.keys import sealing
from storage.timestamps import from_micros, to_micros

MAX_NAME = 80  # characters
MAX_SETS = 200  # of one customer; all of them are opened to find one
_KIND = "columns"


class TooManySets(StorageError):
    """There are already as many sets as allowed."""


class NameTaken(StorageError):
    """Another set has this name."""


@dataclass(frozen=True, slots=True)
class ColumnSet:
    """A named selection of columns."""

    id: str
    """Random id."""
    name: str = field(repr=False)
    """Name that the customer gave it; unique apart from case and spelling of accents."""
    columns: tuple[str, ...]
    """Names of columns, in order."""
    changed_at: datetime
    """Last change."""
    changed_by: str
    """Name of the token that changed it."""
    leaf: int = field(repr=False)
    """Leaf that name and columns are sealed under."""


class ColumnSets(JournaledRows):
    """The column sets of one customer."""

    async def all(self) -> tuple[ColumnSet, ...]:
        """Return every set, by name."""
        async with self._database.reading() as connection:
            found = await self._all(connection)
        return tuple(sorted(found, key=lambda each: (folded(each.name), each.id)))

    async def put(
        self, named: str, columns: Sequence[str], *, by: str, rename: str | None = None, told: AuditNote = unaudited
    ) -> tuple[ColumnSet, bool]:
        """Create or change a set by name or id; return it and whether it is new. Raises TooManySets, NameTaken."""
        now = self._now()
        async with self._database.writing() as connection:
            there = await self._all(connection)
            old = pick(there, named)
            if old is None and len(there) >= MAX_SETS:
                raise TooManySets(f"there are {MAX_SETS} column sets already", "delete one first")
            name = rename or (old.name if old else named)
            taken = pick([each for each in there if each != old], name)
            if taken is not None:
                raise NameTaken("another column set has this name")
            id, leaf = (old.id, old.leaf) if old else (new_id(self._random), sealing.new_leaf(self._keys))
            kept = ColumnSet(id, name, tuple(columns), now, by, leaf)
            await self._write(connection, kept, there=old is not None)
            await told(id)
            await self._journal.keep(connection, column_sets, column_sets.c.id == id)
        return kept, old is None

    async def delete(self, named: str, told: AuditNote = unaudited) -> bool:
        """Delete the set of this name or id; False if there is none."""
        async with self._database.writing() as connection:
            old = pick(await self._all(connection), named)
            if old is None:
                return False
            await connection.execute(column_sets.delete().where(column_sets.c.id == old.id))
            await told(old.id)
            await self._journal.write([dropped(column_sets, old.leaf, id=old.id)])
        await self._cutter.cut(old.leaf)
        return True

    async def _write(self, connection: AsyncConnection, kept: ColumnSet, *, there: bool) -> None:
        told = {"name": kept.name, "columns": list(kept.columns)}
        values = {
            "changed_at": to_micros(kept.changed_at),
            "changed_by": kept.changed_by,
            "sealed": sealing.seal(self._keys, kept.leaf, _KIND, kept.id, told),
        }
        if there:
            await connection.execute(column_sets.update().where(column_sets.c.id == kept.id).values(**values))
        else:
            await connection.execute(column_sets.insert(), {"id": kept.id, "leaf": kept.leaf, **values})

    async def _all(self, connection: AsyncConnection) -> list[ColumnSet]:
        records = list(await connection.execute(sa.select(column_sets)))
        return [found for found in map(self._open, records) if found is not None]

    def _open(self, record: Any) -> ColumnSet | None:
        try:
            told = sealing.unseal(self._keys, record.leaf, _KIND, record.id, record.sealed)
        except Forgotten:
            return None
        changed = from_micros(record.changed_at)
        return ColumnSet(record.id, str(told["name"]), tuple(told["columns"]), changed, record.changed_by, record.leaf)


def folded(name: str) -> str:
    """Return a key that is the same for spellings of a name that look alike."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def pick(sets: Sequence[ColumnSet], named: str) -> ColumnSet | None:
    """Return the set of this name or id."""
    wanted = folded(named)
    return next((each for each in sets if named == each.id or folded(each.name) == wanted), None)
