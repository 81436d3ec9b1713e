"""Attachments of a call: a transcript as VTT or JSON, a chat as JSON; exported and erased together with the call.

    made  = await customer.attachments.add(call, kind, media_type, data, by, title=…, language=…)
        raises NoCall (404), BadAttachment (422)
    found = await customer.attachments.of(call)              oldest first
    data  = await customer.attachments.read(attachment)      raises Torn, Forged, PartMissing, OnOtherNode, StoreAway

The data are in the vault as parts `a1`, `a2`… of the recording, under the call's leaf and the label "attachment".
"""

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.database.schema import attachments
from storage.erasure.holds import NoCall, leaf_of
from storage.errors import Forgotten, PartExists, PartMissing, StorageError
from storage.ids import new_id
from storage.journal.journal import JournaledDatabase, JournaledRows
from storage.keys import sealing
from storage.timestamps import from_micros, to_micros
from storage.vault.sealed_file import Sink
from storage.vault.vault import PartRef, Vault

__all__ = ["Attachment", "Attachments", "BadAttachment", "NoCall"]

KINDS = ("transcript", "chat")
MEDIA_TYPES = ("text/vtt", "application/json")
MAX_BYTES = 32 << 20  # a transcript of a day-long conference with the time of every word has 10 MB
MAX_PER_CALL = 100
_KIND = "attachment"


class BadAttachment(StorageError):
    """An attachment has a kind, type or size that is not accepted."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment, without its data."""

    id: str
    """Random id."""
    call: str
    """Id of the call."""
    kind: str
    """transcript or chat."""
    media_type: str
    """text/vtt or application/json."""
    created_at: datetime
    """When it was attached."""
    created_by: str
    """Name of the token that attached it."""
    size_bytes: int
    """Length of the data."""
    title: str = field(repr=False)
    """Title."""
    language: str
    """Language tag (RFC 5646), "" if unknown."""
    sha256: str
    """Digest of the data."""
    leaf: int = field(repr=False)
    """The call's leaf."""
    part: str = field(repr=False)
    """Name of its part in the vault."""


class Attachments(JournaledRows):
    """The attachments of one customer."""

    def __init__(self, store: JournaledDatabase, vault: Vault) -> None:
        super().__init__(store)
        self._vault = vault

    async def add(
        self, call: str, kind: str, media_type: str, data: bytes, by: str, *, title: str = "", language: str = ""
    ) -> Attachment:
        """Attach data to a call, durably; raises NoCall, BadAttachment, NoSpace."""
        if kind not in KINDS or media_type not in MEDIA_TYPES or len(data) > MAX_BYTES:
            wanted = f"{' or '.join(KINDS)} as {' or '.join(MEDIA_TYPES)}, at most {MAX_BYTES >> 20} MiB"
            raise BadAttachment(f"an attachment must be a {wanted}")
        async with self._database.reading() as connection:
            leaf = await leaf_of(connection, self._keys, call)
        part = await asyncio.to_thread(self._store, call, leaf, data)
        told = {"title": title, "language": language, "sha256": hashlib.sha256(data).hexdigest(), "part": part.part}
        id, now = new_id(self._random), self._now()
        values = {"id": id, "call": call, "leaf": leaf, "kind": kind, "media_type": media_type, "created_by": by}
        try:
            async with self._database.writing() as connection:
                await leaf_of(connection, self._keys, call)  # an erasure may have begun meanwhile
                sealed = sealing.seal(self._keys, leaf, _KIND, id, told)
                row = {**values, "created_at": to_micros(now), "size_bytes": len(data), "sealed": sealed}
                await connection.execute(attachments.insert(), row)
                await self._journal.keep(connection, attachments, attachments.c.id == id)
        except BaseException:
            await asyncio.to_thread(self._vault.drop, part)
            raise
        return _attachment({**values, "size_bytes": len(data)}, now, told)

    async def of(self, call: str) -> tuple[Attachment, ...]:
        """Return the attachments of a call, oldest first."""
        order = attachments.c.created_at, attachments.c.id
        asked = sa.select(attachments).where(attachments.c.call == call).order_by(*order)
        async with self._database.reading() as connection:
            found = [self._open(record) for record in await connection.execute(asked)]
        return tuple(one for one in found if one is not None)

    async def every(self) -> tuple[Attachment, ...]:
        """Return all attachments of all calls; raises SealBroken if one was altered."""
        async with self._database.reading() as connection:
            found = [self._open(record) for record in await connection.execute(sa.select(attachments))]
        return tuple(one for one in found if one is not None)

    async def read(self, attachment: Attachment) -> bytes:
        """Return the bytes of an attachment; raises Torn, Forged, Forgotten, PartMissing, OnOtherNode, StoreAway."""
        return await asyncio.to_thread(self._read, attachment)

    def _read(self, attachment: Attachment) -> bytes:
        ref = self._vault.attachment(attachment.call, attachment.leaf, attachment.part)
        if ref is None:
            raise PartMissing("there is no such attachment")
        return b"".join(self._vault.read(ref))

    def _store(self, call: str, leaf: int, data: bytes) -> PartRef:
        after = self._vault.attachments_after
        for number in range(after + 1, after + MAX_PER_CALL + 1):
            try:
                sink = Sink(self._vault, call, leaf, part=f"a{number}")
            except PartExists:
                continue
            try:
                sink.write(data)
                sink.finish()
            except BaseException:
                sink.discard()
                raise
            if sink.ref is not None:
                return sink.ref
        raise BadAttachment(f"a call has {MAX_PER_CALL} attachments at most")

    def _open(self, record: Any) -> Attachment | None:
        try:
            told = sealing.unseal(self._keys, record.leaf, _KIND, record.id, record.sealed)
        except Forgotten:
            return None
        return _attachment(record._mapping, from_micros(record.created_at), told)


def _attachment(row: Any, created_at: datetime, told: dict[str, Any]) -> Attachment:
    return Attachment(
        row["id"],
        row["call"],
        row["kind"],
        row["media_type"],
        created_at,
        row["created_by"],
        row["size_bytes"],
        str(told["title"]),
        str(told["language"]),
        str(told["sha256"]),
        row["leaf"],
        str(told["part"]),
    )
