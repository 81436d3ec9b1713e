"""Tell a backup that was brought back what has happened since, before anything of it is served.

The keys know what was erased: what was cut opens nowhere. Here the rest follows: files, rows and tokens that the backup
brought back go, and then the journal says what else people did. Erasures that neither database nor journal know are
written down again as done, with cause `restored`: the ledger knows who asked and approved, and the ids of requests;
those of retention are known by what came back of them. A receipt that the journal has is the original and stays.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import erasurerows as rows
from storage import receipts
from storage.callrows import DAY_SHIFT
from storage.database import Database
from storage.erasurerows import Doomed
from storage.forgetting import Forgetting
from storage.instants import to_micros
from storage.journal import Journal
from storage.keytree import LAST_LEAF
from storage.ledger import Entry, Ledger, Request
from storage.papers import PAPERS_DAY
from storage.replay import behind, give_back, settle
from storage.tables import erasures

_LAST_DAY = LAST_LEAF >> DAY_SHIFT


async def reapply(
    customer: str,
    database: Database,
    ledger: Ledger,
    forgetting: Forgetting,
    journal: Journal,
    key: Ed25519PrivateKey,
    now: Callable[[], datetime],
) -> int | None:
    """Bring a database up to ledger and journal; count the calls that came back and went again.

    Returns None where the database is not older than the keys, after one look at the end of the ledger. Whatever
    interrupts it, the next start does it all again: the database knows the last erasure only when files and rows went.
    """
    await give_back(journal, database)
    last = await asyncio.to_thread(ledger.last)
    late = await behind(journal, database)
    if last is None or not (late or await _unknown(database, last.ids)):
        await settle(journal, database)
        return None
    entries = await asyncio.to_thread(lambda: list(ledger.entries()))
    days: set[int] = set()
    for entry in entries:
        await forgetting.recut(entry)
        days |= {*entry.days, *(leaf >> DAY_SHIFT for leaf in entry.leaves)}
    gone = await forgetting.clear(days - {PAPERS_DAY, _LAST_DAY})
    await database.scrub()
    await settle(journal, database)
    await _write_down(customer, database, _joined(entries, gone), journal, key, now())
    return len(gone)


async def _unknown(database: Database, ids: Sequence[str]) -> set[str]:
    async with database.reading() as connection:
        return await _missing(connection, ids)


async def _missing(connection: AsyncConnection, ids: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for part in rows.batches(ids):
        known.update(await connection.scalars(sa.select(erasures.c.id).where(erasures.c.id.in_(part))))
    return set(ids) - known


def _joined(entries: Sequence[Entry], gone: Sequence[Doomed]) -> list[Request]:
    """Put the rounds of each erasure together, with the ids of calls that came back and belong to it."""
    ids = {d.leaf: d.call for d in gone}
    found: dict[str, Request] = {}
    for request in (request for entry in entries for request in entry.erasures):
        before = found.get(request.id, request)
        came_back = (ids[leaf] for leaf in request.leaves if leaf in ids)
        found[request.id] = replace(before, calls=tuple({*before.calls, *request.calls, *came_back}))
    return list(found.values())


async def _write_down(
    customer: str,
    database: Database,
    requests: Sequence[Request],
    journal: Journal,
    key: Ed25519PrivateKey,
    now: datetime,
) -> None:
    """Note every erasure of the ledger that is unknown, with a receipt of its own."""
    async with database.writing() as connection:
        unknown = await _missing(connection, [request.id for request in requests])
        for request in (request for request in requests if request.id in unknown):
            _, _, rule = request.cause.partition(":")
            approved_at = None if request.approved_at is None else to_micros(request.approved_at)
            facts = receipts.Facts(
                customer,
                request.id,
                rows.RESTORED,
                rule or None,
                request.calls,
                request.by,
                request.at,
                request.approved_by,
                request.approved_at,
                now,
            )
            values = {
                "id": request.id,
                "state": rows.State.DONE.value,
                "cause": f"{rows.RESTORED}:{rule}" if rule else rows.RESTORED,
                "requested_at": to_micros(request.at),
                "requested_by": request.by,
                "approved_at": approved_at,
                "approved_by": request.approved_by,
                "done_at": to_micros(now),
                "receipt": json.dumps(receipts.sign(key, facts), separators=(",", ":")).encode(),
            }
            await rows.file(connection, values)
            await journal.keep(connection, erasures, erasures.c.id == request.id)
