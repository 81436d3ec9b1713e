"""Waivers: the signed permission that is required to erase anything before its retention ends.

    waiver = await customer.waivers.put(document_sha256=…, signed_by=…, signed_at=…, scope=…, expires_at=…, by=…)
    waiver = await customer.waivers.current()            None if there never was one
    waiver.active(now)                                   what the API shows as `active`

The newest one counts; older ones are kept unchanged.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.schema import waivers
from storage.ids import new_id
from storage.journal.journal import JournaledRows
from storage.keys import sealing
from storage.timestamps import from_micros, to_micros

_KIND = "waiver"
_NEWEST = (waivers.c.put_at.desc(), waivers.c.id)


@dataclass(frozen=True, slots=True)
class Waiver:
    """A permission for immediate erasure."""

    id: str
    """Random id."""
    document_sha256: str
    """Digest of the signed document, which is kept elsewhere."""
    signed_by: str = field(repr=False)
    """Who signed it."""
    signed_at: datetime
    """When it was signed."""
    scope: str = field(repr=False)
    """What it permits, as written."""
    expires_at: datetime | None
    """When it ends, None if never."""
    put_at: datetime
    """When it was put on file."""
    put_by: str
    """Name of the token that put it on file."""

    def active(self, now: datetime) -> bool:
        """Return whether it permits erasure now."""
        return self.expires_at is None or now < self.expires_at


class Waivers(JournaledRows):
    """The waivers of one customer."""

    async def put(
        self,
        *,
        document_sha256: str,
        signed_by: str,
        signed_at: datetime,
        scope: str,
        expires_at: datetime | None,
        by: str,
    ) -> Waiver:
        """Put a waiver on file; it replaces the previous one, even if it permits less."""
        id, leaf = new_id(self._random), sealing.new_leaf(self._keys)
        sealed = sealing.seal(self._keys, leaf, _KIND, id, {"signed_by": signed_by, "scope": scope})
        async with self._database.writing() as connection:
            newest = await connection.scalar(sa.select(sa.func.max(waivers.c.put_at)))
            put_at = max(to_micros(self._now()), (newest or 0) + 1)  # always later than the one before
            values = {
                "id": id,
                "document_sha256": document_sha256,
                "signed_at": to_micros(signed_at),
                "expires_at": None if expires_at is None else to_micros(expires_at),
                "put_at": put_at,
                "put_by": by,
                "leaf": leaf,
                "sealed": sealed,
            }
            await connection.execute(waivers.insert(), values)
            await self._journal.keep(connection, waivers, waivers.c.id == id)
        return Waiver(id, document_sha256, signed_by, signed_at, scope, expires_at, from_micros(put_at), by)

    async def current(self) -> Waiver | None:
        """Return the newest waiver, active or not."""
        async with self._database.reading() as connection:
            record: Any = (await connection.execute(sa.select(waivers).order_by(*_NEWEST).limit(1))).first()
        if record is None:
            return None
        told = sealing.unseal(self._keys, record.leaf, _KIND, record.id, record.sealed)
        return Waiver(
            record.id,
            record.document_sha256,
            str(told["signed_by"]),
            from_micros(record.signed_at),
            str(told["scope"]),
            None if record.expires_at is None else from_micros(record.expires_at),
            from_micros(record.put_at),
            record.put_by,
        )


async def permitted(connection: AsyncConnection, now: datetime) -> bool:
    """Return whether the newest waiver permits erasure now."""
    record: Any = (await connection.execute(sa.select(waivers).order_by(*_NEWEST).limit(1))).first()
    return record is not None and (record.expires_at is None or to_micros(now) < record.expires_at)
