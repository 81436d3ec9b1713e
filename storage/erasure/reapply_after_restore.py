"""Tell a backup that was brought back what has happened since, before anything of it is served.

The keys know what was erased: what was cut opens nowhere. Here the rest follows: files, rows and tokens that the backup
brought back go, and then the journal says what else people did. Erasures that neither database nor journal know are
written down again as done, with cause `restored`: the ledger knows who asked and approved, and the ids of requests;
those of retention are known by what came back of them. A receipt that the journal has is the original and stays. One
that they know as it was before its cut, waiting for an approver or for a hold to go, is taken as far as the cut, and
ends as it would have.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls.call_row import DAY_SHIFT
from storage.database.database import Database, batches
from storage.database.schema import erasure_calls, erasures
from storage.erasure import erasure_rows as rows
from storage.erasure import receipts
from storage.erasure.cut_log import Entry, Ledger, Request
from storage.erasure.erasure_rows import ErasureTarget
from storage.erasure.erasure_steps import ErasureSteps
from storage.journal.journal import Journal
from storage.journal.journal import request as taken_request
from storage.journal.replay import behind, give_back, settle
from storage.json_bytes import ascii_json
from storage.keys.key_tree import LAST_LEAF
from storage.keys.sealing import NO_CALL_DAY
from storage.timestamps import to_micros

_LAST_DAY = LAST_LEAF >> DAY_SHIFT


async def reapply(
    customer: str,
    database: Database,
    ledger: Ledger,
    steps: ErasureSteps,
    journal: Journal,
    key: Ed25519PrivateKey,
    now: Callable[[], datetime],
) -> int | None:
    """Bring a database up to ledger and journal; count the calls that came back and went again.

    Returns None where the database is not older than the keys, after one look at the end of the ledger. Whatever
    interrupts it, the next start does it all again: the database knows the last erasure only when files and rows went.
    """
    await give_back(journal, database)
    late = await behind(journal, database)
    if await asyncio.to_thread(ledger.last) is None or not (late or await _older(database, ledger)):
        await settle(journal, database)
        return None
    entries = await asyncio.to_thread(lambda: list(ledger.entries()))
    days: set[int] = set()
    for entry in entries:
        await steps.recut(entry)
        days |= {*entry.days, *(leaf >> DAY_SHIFT for leaf in entry.leaves)}
    gone = await steps.clear(days - {NO_CALL_DAY, _LAST_DAY})
    await database.scrub()
    await settle(journal, database)
    await _write_down(customer, database, _joined(entries, gone), journal, key, now())
    return len(gone)


async def _older(database: Database, ledger: Ledger) -> bool:
    """Say whether the database is of before a cut.

    The newest cuts are looked at, back to one for an erasure that the database has seen the end of: it knows all that
    was done before that.
    """
    entries = ledger.newest_first()
    async with database.reading() as connection:
        while (entry := await asyncio.to_thread(next, entries, None)) is not None:
            states = await _states(connection, entry.ids)
            for request in entry.erasures:
                if not await _begun(connection, request, states.get(request.id)):
                    return True
            if rows.State.DONE in states.values():
                return False
    return False


async def _states(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in batches(ids):
        asked = sa.select(erasures.c.id, erasures.c.state).where(erasures.c.id.in_(part))
        found.update((id, state) for id, state in await connection.execute(asked))
    return found


async def _begun(connection: AsyncConnection, request: Request, state: str | None) -> bool:
    """Say whether the database knows that an erasure had begun with the calls of a cut, or was over."""
    if state is None or state == rows.State.APPROVAL:
        return False
    if state == rows.State.DONE:
        return True
    filed = sa.select(erasure_calls.c.leaf).where(
        erasure_calls.c.erasure == request.id, erasure_calls.c.step == rows.Step.FILED
    )
    return not set(request.leaves) & set(await connection.scalars(filed))


def _joined(entries: Sequence[Entry], gone: Sequence[ErasureTarget]) -> list[Request]:
    """Put the rounds of each erasure together, with the ids of calls that came back and belong to it."""
    ids = {d.leaf: d.call for d in gone}
    found: dict[str, Request] = {}
    for request in (request for entry in entries for request in entry.erasures):
        before = found.get(request.id, request)
        came_back = (ids[leaf] for leaf in request.leaves if leaf in ids)
        calls, leaves = {*before.calls, *request.calls, *came_back}, {*before.leaves, *request.leaves}
        found[request.id] = replace(before, calls=tuple(calls), leaves=tuple(leaves))
    return list(found.values())


async def _write_down(
    customer: str,
    database: Database,
    requests: Sequence[Request],
    journal: Journal,
    key: Ed25519PrivateKey,
    now: datetime,
) -> None:
    """Note every erasure of the ledger that is unknown, with a receipt of its own; let the others go on."""
    async with database.writing() as connection:
        states = await _states(connection, [request.id for request in requests])
        for request in requests:
            if states.get(request.id, rows.State.DONE) != rows.State.DONE:
                await _let_go_on(connection, request, journal, granted=states[request.id] == rows.State.APPROVAL)
        for request in (request for request in requests if request.id not in states):
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
                "receipt": ascii_json(receipts.sign(key, facts)),
            }
            await rows.file(connection, values)
            await journal.keep(connection, erasures, erasures.c.id == request.id)


async def _let_go_on(connection: AsyncConnection, request: Request, journal: Journal, *, granted: bool) -> None:
    """Take an erasure as far as its cuts: it was approved, and the calls of a request are those that were cut too.

    Of a sweep that asked only what it cut goes on; retention decides anew about the rest.
    """
    mine = erasure_calls.c.erasure == request.id
    if granted:
        approved_at = None if request.approved_at is None else to_micros(request.approved_at)
        values = {"state": rows.State.RUNNING.value, "approved_at": approved_at, "approved_by": request.approved_by}
        await connection.execute(erasures.update().where(erasures.c.id == request.id).values(**values))
    if granted and request.cause != rows.REQUEST:
        found = await connection.execute(sa.select(erasure_calls.c.call, erasure_calls.c.leaf).where(mine))
        kept = [call for call, leaf in found if leaf not in set(request.leaves)]
        for part in batches(kept):
            await connection.execute(erasure_calls.delete().where(mine, erasure_calls.c.call.in_(part)))
    known = set(await rows.calls_of(connection, request.id))
    fresh = dict.fromkeys(call for call in request.calls if call not in known)
    await rows.add_calls(connection, request.id, fresh)
    if request.cause == rows.REQUEST:
        await journal.write(await taken_request(connection, request.id))
