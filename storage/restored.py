"""Tell a backup that was brought back what has been erased since, before anything of it is served.

The keys know it already: what was cut opens nowhere. Here the rest follows: files, rows and tokens that the backup
brought back go, and the erasures that it does not know are written down again as done, with cause `restored`.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import erasurerows as rows
from storage import receipts
from storage.callrows import DAY_SHIFT
from storage.database import Database
from storage.forgetting import Forgetting
from storage.instants import to_micros
from storage.keytree import LAST_LEAF
from storage.ledger import Entry, Ledger
from storage.papers import PAPERS_DAY
from storage.tables import erasures

_BY = "recorder"
_LAST_DAY = LAST_LEAF >> DAY_SHIFT


async def reapply(
    customer: str,
    database: Database,
    ledger: Ledger,
    forgetting: Forgetting,
    key: Ed25519PrivateKey,
    now: Callable[[], datetime],
) -> int | None:
    """Do the erasures of the ledger again if the database does not know its last; count the calls that went.

    Returns None where the database is not older than the keys, after one look at the end of the ledger.
    """
    last = await asyncio.to_thread(ledger.last)
    if last is None or not await _unknown(database, last.erasures):
        return None
    entries = await asyncio.to_thread(lambda: list(ledger.entries()))
    days: set[int] = set()
    for entry in entries:
        await forgetting.recut(entry)
        days |= {*entry.days, *(leaf >> DAY_SHIFT for leaf in entry.leaves)}
    count = await forgetting.clear(days - {PAPERS_DAY, _LAST_DAY})
    await database.scrub()
    await _write_down(customer, database, entries, key, now())
    return count


async def _unknown(database: Database, ids: Sequence[str]) -> set[str]:
    async with database.reading() as connection:
        return await _missing(connection, ids)


async def _missing(connection: AsyncConnection, ids: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for part in rows.batches(ids):
        known.update(await connection.scalars(sa.select(erasures.c.id).where(erasures.c.id.in_(part))))
    return set(ids) - known


async def _write_down(
    customer: str, database: Database, entries: Sequence[Entry], key: Ed25519PrivateKey, now: datetime
) -> None:
    """Note every erasure of the ledger that is unknown; calls are named where the ledger knows whose they were."""
    first: dict[str, Entry] = {}
    named: dict[str, set[str]] = {}
    for entry in entries:
        for id in entry.erasures:
            first.setdefault(id, entry)
            named.setdefault(id, set()).update(entry.calls if len(entry.erasures) == 1 else ())
    async with database.writing() as connection:
        for id in sorted(await _missing(connection, list(first))):
            at = first[id].at
            facts = receipts.Facts(customer, id, rows.RESTORED, None, sorted(named[id]), _BY, at, None, None, now)
            values = {
                "id": id,
                "state": rows.State.DONE.value,
                "cause": rows.RESTORED,
                "requested_at": to_micros(at),
                "requested_by": _BY,
                "done_at": to_micros(now),
                "receipt": json.dumps(receipts.sign(key, facts), separators=(",", ":")).encode(),
            }
            await rows.file(connection, values)
