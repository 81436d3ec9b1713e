"""Annotations: corrections of a call, which itself is never changed (Art. 16 GDPR).

note  = await customer.annotations.add(call, text, by)     raises NoCall (404)
notes = await customer.annotations.of(call)                oldest first; erased with the call
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.database.schema import annotations
from storage.erasure.holds import NoCall, leaf_of
from storage.errors import Forgotten
from storage.ids import new_id
from storage.journal.journal import JournaledRows
from storage.keys import sealing
from storage.timestamps import from_micros, to_micros

__all__ = ["Annotation", "Annotations", "NoCall"]

_KIND = "annotation"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One correction."""

    id: str
    """Random id."""
    call: str
    """Id of the call."""
    created_at: datetime
    """When it was written."""
    created_by: str
    """Name of the token that wrote it."""
    text: str = field(repr=False)
    """The correction."""


class Annotations(JournaledRows):
    """The annotations of one customer."""

    async def add(self, call: str, text: str, by: str) -> Annotation:
        """Add a correction, sealed under the call's own leaf; raises NoCall."""
        note = Annotation(new_id(self._random), call, self._now(), by, text[: sealing.MAX_TEXT])
        async with self._database.writing() as connection:
            leaf = await leaf_of(connection, self._keys, call)
            values = {
                "id": note.id,
                "call": call,
                "leaf": leaf,
                "created_at": to_micros(note.created_at),
                "created_by": by,
                "sealed": sealing.seal(self._keys, leaf, _KIND, note.id, {"text": note.text}),
            }
            await connection.execute(annotations.insert(), values)
            await self._journal.keep(connection, annotations, annotations.c.id == note.id)
        return note

    async def of(self, call: str) -> tuple[Annotation, ...]:
        """Return the corrections of a call, oldest first."""
        order = annotations.c.created_at, annotations.c.id
        asked = sa.select(annotations).where(annotations.c.call == call).order_by(*order)
        async with self._database.reading() as connection:
            found = [self._open(record) for record in await connection.execute(asked)]
        return tuple(note for note in found if note is not None)

    def _open(self, record: Any) -> Annotation | None:
        try:
            told = sealing.unseal(self._keys, record.leaf, _KIND, record.id, record.sealed)
        except Forgotten:
            return None
        made = from_micros(record.created_at)
        return Annotation(record.id, record.call, made, record.created_by, str(told["text"]))
