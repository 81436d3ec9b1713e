"""Erasures that are repeated on a restored backup before any of it is served.

The keys that were cut stay cut, so no erased call can be read. This module does the rest: it removes the files, rows
and tokens that the backup brought back, and then replays the journal. If neither the database nor the journal knows an
erasure, it writes that erasure again as done, with cause `restored`. The cut log has its requester, its approver, and
for a request also the call ids; for retention, the call ids come from the data that the backup brought back. A receipt
in the journal is the original and stays. If an erasure is known only in its state before the cut, waiting for approval
or for a hold, it is brought to the state after the cut, and ends normally.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.batches import batches
from storage.calls.call_row import DAY_SHIFT
from storage.database.database import Database
from storage.database.schema import erasure_calls, erasures
from storage.erasure import erasure_rows as rows
from storage.erasure import receipts
from storage.erasure.erasure_rows import ErasureTarget
from storage.erasure.erasure_steps import ErasureSteps
from storage.journal.journal import Journal
from storage.journal.journal import request as taken_request
from storage.journal.replay import behind, give_back, settle
from storage.json_bytes import ascii_json
from storage.keys.cut_log import Entry, Ledger, Request
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
    """Bring a database up to date with cut log and journal; return how many calls had to be removed again.

    Return None if the database is not older than the keys, after one look at the end of the cut log. If this is
    interrupted, the next start does all of it again: the last erasure is written only after files and rows are removed.
    """
    await give_back(journal, database)
    late = await behind(journal, database)
    if await asyncio.to_thread(ledger.last) is None or not (late or await _older(database, ledger)):
        await settle(journal, database)
        return None
    entries = await asyncio.to_thread(lambda: list(ledger.entries()))
    days: set[int] = set()
    await steps.recut(entries)
    for entry in entries:
        days |= {*entry.days, *(leaf >> DAY_SHIFT for leaf in entry.leaves)}
    gone = await steps.clear(days - {NO_CALL_DAY, _LAST_DAY})
    await database.scrub()
    await settle(journal, database)
    await _write_down(customer, database, _joined(entries, gone), journal, key, now(), shared=steps.shared)
    return len(gone)


async def _older(database: Database, ledger: Ledger) -> bool:
    """Return whether the database is older than a cut.

    Check the newest cuts, back to one for an erasure that is done in the database, which then knows all earlier cuts.
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
    """Return whether, in the database, an erasure had begun with the calls of a cut, or was done."""
    if state is None or state == rows.State.APPROVAL:
        return False
    if state == rows.State.DONE:
        return True
    filed = sa.select(erasure_calls.c.leaf).where(
        erasure_calls.c.erasure == request.id, erasure_calls.c.step == rows.Step.FILED
    )
    return not set(request.leaves) & set(await connection.scalars(filed))


def _joined(entries: Sequence[Entry], gone: Sequence[ErasureTarget]) -> list[Request]:
    """Join the rounds of each erasure, and add the ids of its calls that the backup brought back."""
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
    *,
    shared: bool,
) -> None:
    """Write every erasure of the cut log that is unknown, with a new receipt; let the others continue.

    `shared`: other nodes hold the keys too, so the receipt is written after all of them have cut the keys.
    """
    async with database.writing() as connection:
        states = await _states(connection, [request.id for request in requests])
        for request in requests:
            if states.get(request.id, rows.State.DONE) != rows.State.DONE:
                await _let_go_on(connection, request, journal, granted=states[request.id] == rows.State.APPROVAL)
        for request in (request for request in requests if request.id not in states):
            _, _, rule = request.cause.partition(":")
            approved_at = None if request.approved_at is None else to_micros(request.approved_at)
            known = {
                "id": request.id,
                "cause": f"{rows.RESTORED}:{rule}" if rule else rows.RESTORED,
                "requested_at": to_micros(request.at),
                "requested_by": request.by,
                "approved_at": approved_at,
                "approved_by": request.approved_by,
            }
            if shared:
                await rows.file(connection, {**known, "state": rows.State.CUT.value})
                await rows.add_calls(connection, request.id, dict.fromkeys(request.calls))
                continue
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
                **known,
                "state": rows.State.DONE.value,
                "done_at": to_micros(now),
                "receipt": ascii_json(receipts.sign(key, facts)),
            }
            await rows.file(connection, values)
            await journal.keep(connection, erasures, erasures.c.id == request.id)


async def _let_go_on(connection: AsyncConnection, request: Request, journal: Journal, *, granted: bool) -> None:
    """Bring an erasure to the state after its cuts: it is approved, and a request includes the calls that were cut.

    A sweep that waited for approval keeps only the calls that were cut; retention decides again about the rest.
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
