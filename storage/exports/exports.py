"""Exports of many calls: filed, made, kept sealed, and removed as soon as one of their calls is erased.

For the API:
    export = await customer.exports.file(Request(…), by=NAME)    raises TooMany (503)
        `beside` does more in the same transaction
    export = await customer.exports.get(id)                      Export or None: unknown, expired, or of an erased call
    found, cursor = await customer.exports.listed(limit, cursor)
    export = await customer.exports.cancel(id)                   Export or None
    chunks = customer.exports.read(export)                       plaintext of a finished one; raises StorageError
For the daemon (recorder.exports.export_job):
    exports.wanted, unfinished(), begin(id), admit(id, ids), sink(export), finish(id, size), fail(id, why), tidy()
For an erasure:
    await customer.exports.forget(ids)                           removes exports that contain any of these calls
    await customer.exports.unlink(ids)                           only their files, for storage.erasure.erasure_steps

The file is in a separate vault (`exports/`, parts of kind `a`) under the row's leaf, which belongs to no call, so
forgetting an export is a cut, and no recording can be mistaken for an export. Before the data of a call are read, the
call is stored as part of the export, in a transaction that checks whether it is being erased. Either the export leaves
the call out, or the erasure finds the export.

With several nodes, the one that was asked for an export makes it and has its file; the export's leaf contains its
number.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import cursors
from storage.batches import batches
from storage.calls.session_recordings import with_others
from storage.database.database import Database
from storage.database.schema import erasure_calls, export_calls, exports
from storage.errors import Forgotten, PartMissing, StorageError
from storage.ids import is_id, new_id
from storage.keys import sealing
from storage.keys.cutter import Cutter
from storage.keys.leaf_counter import node_of
from storage.timestamps import from_micros, to_micros
from storage.vault.sealed_file import PART, Sink
from storage.vault.vault import Vault

FOLDER = "exports"
KEEP_DAYS = 7  # long enough to fetch it after a holiday weekend; it is a copy, and copies can leak
MAX_RUNNING = 50  # of one customer; they are made one after the other
MAX_TRIES = 3  # a job during which the process ended so often may be the cause
REPORT = "report"  # the format of the reports of requests
_KIND = "export"


class ExportState(StrEnum):
    """State of an export."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Request:
    """The content of a request for an export; stays sealed as long as it is kept."""

    format: str
    """xlsx, csv, json, or "report"."""
    columns: tuple[str, ...]
    """Names of columns, in order."""
    reason: str = field(repr=False)
    """The reason given."""
    calls: tuple[str, ...] | None = None
    """Ids of calls, or None."""
    party: str | None = field(default=None, repr=False)
    """Party whose calls are exported, or None."""
    media: str | None = None
    """Format of the media files, None for none."""
    silence_others: bool = False
    """Leave out the streams of everybody but the party."""
    said: Mapping[str, Any] | None = None
    """The problem in a form that can be translated: an `id` and `values`; None if only the sentence is known."""
    case: str | None = None
    """For a report: id of the request of a data subject; None for an export."""
    other_parties: bool = False
    """For a report: also name everybody else; exports choose columns instead."""
    recipient: str | None = None
    """age recipient that the file is encrypted to."""
    passphrase: str | None = field(default=None, repr=False)
    """Passphrase that age encrypts the file with; forgotten once the file is made."""
    query: Mapping[str, Any] | None = field(default=None, repr=False)
    """Query whose calls are exported (storage.calls.stored_query), or None."""


@dataclass(frozen=True, slots=True)
class Export:
    """One export."""

    id: str
    """Random id."""
    leaf: int = field(repr=False)
    """Leaf that request and file are sealed under."""
    state: ExportState
    """Running, done, failed or cancelled."""
    format: str
    """xlsx, csv, json, or "report"."""
    created_at: datetime
    """When it was requested."""
    created_by: str
    """Name of the token that requested it."""
    expires_at: datetime
    """When it is removed."""
    size_bytes: int | None
    """Length of the file, None before it is done."""
    request: Request | None = field(repr=False)
    """What was requested, None once it failed or was cancelled."""
    tries: int = 0
    """How often it was started."""
    problem: str | None = None
    """Why it failed, or what its file lacks: a sentence without personal data."""
    said: Mapping[str, Any] | None = None
    """The problem in a form that can be translated: an `id` and `values`; None if only the sentence is known."""
    case: str | None = None
    """For a report: id of the request of a data subject; kept also if it failed."""


Beside = Callable[[AsyncConnection, str], Awaitable[None]]
"""Does more in the transaction that files an export; gets its id."""

Ended = Callable[[AsyncConnection, Export, ExportState, Mapping[str, Any]], Awaitable[None]]
"""Called in the transaction in which an export ends, with its new state and the facts to record."""


class TooMany(StorageError):
    """Too many exports are waiting."""


class Gone(StorageError):
    """The export was cancelled, has expired, or contained a call that was erased meanwhile."""


class Exports:
    """The exports of one customer."""

    def __init__(
        self,
        database: Database,
        keys: sealing.DeletableKeys,
        vault: Vault,
        cutter: Cutter,
        now: Callable[[], datetime],
        random: Callable[[int], bytes] = os.urandom,
        *,
        node: int | None = None,
    ) -> None:
        """Take a `vault` that contains only exports; `node`: number of this node if there are several."""
        self._node = node
        self.wanted = asyncio.Event()
        # set when there is a job, or one was cancelled
        self.progress: dict[str, tuple[int, int | None]] = {}
        # for jobs of this process: export → calls done, and all calls if known
        self.in_use = vault.in_use
        # files that this process is sending
        self._database = database
        self._keys = keys
        self._vault = vault
        self._cutter = cutter
        self._now = now
        self._expiry_clock = now
        self._ended: Ended = _unheard
        self._random = random

    def expire_by(self, clock: Callable[[], datetime]) -> None:
        """Use this clock for expiry instead of the wall clock, which somebody may set forward."""
        self._expiry_clock = clock

    def on_end(self, ended: Ended) -> None:
        """Call `ended` in the transaction in which an export ends."""
        self._ended = ended

    # --- ask ---------------------------------------------------------------------------------------------------------

    async def file(self, request: Request, by: str, beside: Beside | None = None) -> Export:
        """File an export, durably; raises TooMany, and any error of `beside`.

        If several nodes recorded a call, all of its recordings are exported.
        """
        id, leaf, now = new_id(self._random), sealing.new_leaf(self._keys), self._now()
        values = {
            "id": id,
            "state": ExportState.RUNNING.value,
            "format": request.format,
            "created_at": to_micros(now),
            "created_by": by,
            "expires_at": to_micros(now + timedelta(days=KEEP_DAYS)),
            "size_bytes": None,
            "leaf": leaf,
        }
        running = sa.select(sa.func.count()).select_from(exports).where(exports.c.state == ExportState.RUNNING.value)
        async with self._database.writing() as connection:
            if int(await connection.scalar(running) or 0) >= MAX_RUNNING:
                raise TooMany(f"{MAX_RUNNING} exports are waiting already", "wait for one, or cancel one")
            if request.calls is not None and request.case is None:
                request = replace(request, calls=tuple(await with_others(connection, request.calls)))
            sealed = seal(self._keys, leaf, id, request, 0, None)
            await connection.execute(exports.insert(), {**values, "sealed": sealed})
            if beside is not None:
                await beside(connection, id)
            made = shown(self._keys, await _row(connection, id))
        self.wanted.set()
        if made is None:
            raise Gone("the export was erased")
        return made

    async def get(self, id: str) -> Export | None:
        """Return an export; None if it is unknown, has expired, or contained an erased call."""
        async with self._database.reading() as connection:
            return await self._get(connection, id)

    async def listed(self, limit: int, cursor: str | None = None) -> tuple[tuple[Export, ...], str | None]:
        """Return exports that have not expired, newest first, and the cursor of the next page.

        Reports of requests are listed with their requests. Raises BadCursor.
        """
        kept = exports.c.expires_at > to_micros(self._expiry_clock())
        asked = sa.select(exports).where(kept, exports.c.format != REPORT)
        if cursor is not None:
            asked = asked.where(
                sa.tuple_(exports.c.created_at, exports.c.id) < sa.tuple_(*cursors.read_by_time(cursor))
            )
        asked = asked.order_by(exports.c.created_at.desc(), exports.c.id.desc()).limit(limit + 1)
        async with self._database.reading() as connection:
            records = (await connection.execute(asked)).all()
        found = [shown(self._keys, record) for record in records[:limit]]
        more = cursors.by_time(records[limit - 1].created_at, records[limit - 1].id) if len(records) > limit else None
        return tuple(export for export in found if export is not None), more

    async def cancel(self, id: str) -> Export | None:
        """Cancel an export in any state and erase its file; None if there is none. Idempotent."""
        found = await self.get(id)
        if found is None or found.state is ExportState.CANCELLED:
            return found
        await self._end(found, ExportState.CANCELLED, None)
        self.wanted.set()
        return await self.get(id)

    def read(self, export: Export) -> Iterator[bytes]:
        """Yield the file of a finished export; raises PartMissing, Torn, Forged, Forgotten."""
        ref = self._vault.find(export.id, export.leaf, PART)
        if ref is None or export.state is not ExportState.DONE:
            raise PartMissing("this export has no file")
        yield from self._vault.read(ref)

    def elsewhere(self, export: Export) -> int | None:
        """Return the number of the node that has the file of a finished export, None if it is here."""
        if self._node is None or self._vault.find(export.id, export.leaf, PART) is not None:
            return None
        return node_of(export.leaf)

    # --- work --------------------------------------------------------------------------------------------------------

    async def unfinished(self) -> tuple[str, ...]:
        """Return the exports that are still to be made here, oldest first."""
        return tuple(id for id, node in await self._unfinished() if self._node in (None, node))

    async def unfinished_elsewhere(self) -> tuple[tuple[str, int], ...]:
        """Return the exports that another node is to make, each with the number of that node."""
        return tuple(each for each in await self._unfinished() if self._node not in (None, each[1]))

    async def _unfinished(self) -> list[tuple[str, int]]:
        asked = sa.select(exports.c.id, exports.c.leaf).where(exports.c.state == ExportState.RUNNING.value)
        async with self._database.reading() as connection:
            found = await connection.execute(asked.order_by(exports.c.created_at, exports.c.id))
            return [(row.id, node_of(row.leaf)) for row in found]

    async def begin(self, id: str) -> Export:
        """Start a job, or restart it without the results of an earlier try. Raises Gone or Forgotten."""
        async with self._database.reading() as connection:
            export = await self._running(connection, id)
        await asyncio.to_thread(self._vault.remove, id, export.leaf)
        if export.tries >= MAX_TRIES:
            await self.fail(id, "The recorder ended while this was worked on, several times.")
            raise Gone("the export was tried too often")
        sealed = seal(self._keys, export.leaf, id, export.request, export.tries + 1, None)
        async with self._database.writing() as connection:
            await self._running(connection, id)  # if it was cancelled meanwhile, it is sealed under another leaf
            await connection.execute(export_calls.delete().where(export_calls.c.export == id))
            await connection.execute(exports.update().where(exports.c.id == id).values(sealed=sealed))
        return export

    async def admit(self, id: str, calls: Sequence[str]) -> frozenset[str]:
        """Add calls to the export; return those that it may contain. Raises Gone."""
        going: set[str] = set()
        async with self._database.writing() as connection:
            await self._running(connection, id)
            known: set[str] = set()
            for part in batches(list(dict.fromkeys(calls))):
                erasing = erasure_calls.c.leaf.is_not(None) & (erasure_calls.c.step > 0)
                asked = sa.select(erasure_calls.c.call).where(erasure_calls.c.call.in_(part), erasing)
                going.update(await connection.scalars(asked))
                held = sa.select(export_calls.c.call).where(export_calls.c.export == id, export_calls.c.call.in_(part))
                known.update(await connection.scalars(held))
            fresh = [call for call in dict.fromkeys(calls) if call not in going]
            values = [{"export": id, "call": call} for call in fresh if call not in known]
            if values:
                await connection.execute(export_calls.insert(), values)
        return frozenset(fresh)

    def sink(self, export: Export, check: Callable[[], None] = lambda: None) -> Sink:
        """Create the file of an export; raises NoSpace, Forgotten."""
        return Sink(self._vault, export.id, export.leaf, check)

    async def finish(self, id: str, size: int, facts: Mapping[str, Any] | None = None) -> None:
        """Mark the file as complete, and record facts; if it raises Gone, the file is removed."""
        facts = facts or {}
        running = sa.and_(exports.c.id == id, exports.c.state == ExportState.RUNNING.value)
        async with self._database.writing() as connection:
            record = await _row(connection, id)
            export = None if record is None else shown(self._keys, record)
            if export is None or export.request is None:
                raise Gone("the export is gone")
            kept = replace(export.request, passphrase=None)
            sealed = seal(self._keys, export.leaf, id, kept, export.tries, facts.get("problem"), facts.get("said"))
            changed = exports.update().where(running)
            done = changed.values(state=ExportState.DONE.value, size_bytes=size, sealed=sealed)
            if not (await connection.execute(done)).rowcount:
                raise Gone("the export is gone")
            await self._ended(connection, export, ExportState.DONE, {"size_bytes": size, **facts})

    async def fail(self, id: str, problem: str, said: Mapping[str, Any] | None = None) -> None:
        """Mark the export as failed, with the reason; nothing else is kept."""
        found = await self.get(id)
        if found is not None and found.state is ExportState.RUNNING:
            await self._end(found, ExportState.FAILED, problem, said)

    async def _get(self, connection: AsyncConnection, id: str) -> Export | None:
        record = await _row(connection, id)
        if record is None or record.expires_at <= to_micros(self._expiry_clock()):
            return None
        return shown(self._keys, record)

    async def _running(self, connection: AsyncConnection, id: str) -> Export:
        """Return an export that is still to be made, as this transaction sees it; raises Gone."""
        export = await self._get(connection, id)
        if export is None or export.state is not ExportState.RUNNING:
            raise Gone("the export is gone")
        return export

    async def _end(
        self, export: Export, state: ExportState, problem: str | None, said: Mapping[str, Any] | None = None
    ) -> None:
        """Forget request and file; the row stays, under a new leaf, until it expires."""
        leaf = sealing.new_leaf(self._keys)
        sealed = seal(self._keys, leaf, export.id, None, export.tries, problem, said, export.case)
        async with self._database.writing() as connection:
            values = {"state": state.value, "leaf": leaf, "sealed": sealed, "size_bytes": None}
            same = sa.and_(exports.c.id == export.id, exports.c.leaf == export.leaf)
            changed = await connection.execute(exports.update().where(same).values(**values))
            if changed.rowcount:
                await connection.execute(export_calls.delete().where(export_calls.c.export == export.id))
                await self._ended(connection, export, state, {"problem": problem, "said": said})
        await self._destroy([(export.id, export.leaf)])

    # --- forget ------------------------------------------------------------------------------------------------------

    async def forget(self, calls: Iterable[str]) -> int:
        """Forget every export that contains any of these calls; return how many. It may be repeated."""
        found = await self._holding(calls)
        await self._forget(list(found.items()))
        return len(found)

    async def drop(self, ids: Sequence[str]) -> None:
        """Forget these exports with their files and rows. It may be repeated."""
        found: list[tuple[str, int]] = []
        async with self._database.reading() as connection:
            for part in batches(ids):
                rows = await connection.execute(sa.select(exports.c.id, exports.c.leaf).where(exports.c.id.in_(part)))
                found += [(row[0], row[1]) for row in rows]
        await self._forget(found)

    async def unlink(self, calls: Iterable[str]) -> None:
        """Unlink the files of exports with any of these calls, even on a full disk: no row is written.

        An erasure cuts their keys before this and removes their rows afterwards.
        """
        found = await self._holding(calls)
        if found:
            await asyncio.to_thread(self._vault.remove_all, list(found.items()))
            await asyncio.to_thread(self._vault.in_use.wait_for_cut)
            self.wanted.set()

    async def holding(self, calls: Iterable[str]) -> dict[str, set[str]]:
        """Return the exports that contain any of these calls, each with those calls."""
        found: dict[str, set[str]] = {}
        async with self._database.reading() as connection:
            for part in batches([call for call in calls if is_id(call)]):
                asked = sa.select(export_calls.c.export, export_calls.c.call).where(export_calls.c.call.in_(part))
                for export, call in await connection.execute(asked):
                    found.setdefault(export, set()).add(call)
        return found

    async def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        """Return how many calls these exports contain; for one that is being made, so far."""
        found: dict[str, int] = {}
        async with self._database.reading() as connection:
            for part in batches([id for id in ids if is_id(id)]):
                asked = sa.select(export_calls.c.export, sa.func.count()).where(export_calls.c.export.in_(part))
                for export, count in await connection.execute(asked.group_by(export_calls.c.export)):
                    found[export] = int(count)
        return found

    async def _holding(self, calls: Iterable[str]) -> dict[str, int]:
        """Return id and leaf of the exports that contain any of these calls."""
        found: dict[str, int] = {}
        joined = exports.join(export_calls, export_calls.c.export == exports.c.id)
        async with self._database.reading() as connection:
            for part in batches([call for call in calls if is_id(call)]):
                asked = sa.select(exports.c.id, exports.c.leaf).select_from(joined)
                rows = await connection.execute(asked.where(export_calls.c.call.in_(part)))
                found.update((row[0], row[1]) for row in rows)
        return found

    async def tidy(self, *, expired: bool = True) -> int:
        """Forget expired exports, unless another node does, and remove files without a row; return how many of both."""
        async with self._database.reading() as connection:
            asked = sa.select(exports.c.id, exports.c.leaf, exports.c.expires_at)
            rows = list(await connection.execute(asked))
        now = to_micros(self._expiry_clock())
        old = [(row[0], row[1]) for row in rows if expired and (row[2] <= now or not self._keys.keeps(row[1]))]
        await self._forget(old)
        kept = {(row[0], row[1]) for row in rows}
        stray = await asyncio.to_thread(lambda: {(r.call, r.leaf) for r in self._vault.walk()} - kept)
        if stray:
            await self._destroy(sorted(stray))
        return len(old) + len(stray)

    async def _forget(self, found: Sequence[tuple[str, int]]) -> None:
        if not found:
            return
        await self._destroy(found)
        async with self._database.writing() as connection:
            for part in batches([id for id, _ in found]):
                await connection.execute(export_calls.delete().where(export_calls.c.export.in_(part)))
                await connection.execute(exports.delete().where(exports.c.id.in_(part)))
        self.wanted.set()

    async def _destroy(self, found: Sequence[tuple[str, int]]) -> None:
        """Cut the leaves, then unlink the files."""
        leaves = [leaf for _, leaf in found if self._keys.keeps(leaf)]
        if leaves:
            await self._cutter.cut(*leaves)
        await asyncio.to_thread(self._vault.remove_all, found)


async def _unheard(connection: AsyncConnection, export: Export, state: ExportState, facts: Mapping[str, Any]) -> None:
    """Do nothing; the default of `on_end`."""


async def _row(connection: AsyncConnection, id: str) -> Any:
    return (await connection.execute(sa.select(exports).where(exports.c.id == id))).first()


def seal(
    keys: sealing.DeletableKeys,
    leaf: int,
    id: str,
    request: Request | None,
    tries: int,
    problem: str | None,
    said: Mapping[str, Any] | None = None,
    case: str | None = None,
) -> bytes:
    """Seal the request of an export; raises Forgotten."""
    asked = None
    if request is not None:
        asked = {name: getattr(request, name) for name in Request.__dataclass_fields__}
        case = request.case
    ended = {"problem": problem, "said": said}
    return sealing.seal(keys, leaf, _KIND, id, {"request": asked, "tries": tries, **ended, "case": case})


def shown(keys: sealing.DeletableKeys, record: Any) -> Export | None:
    """Open a row; None if its leaf was cut; raises SealBroken."""
    try:
        told = sealing.unseal(keys, record.leaf, _KIND, record.id, record.sealed)
    except Forgotten:
        return None
    return Export(
        record.id,
        record.leaf,
        ExportState(record.state),
        record.format,
        from_micros(record.created_at),
        record.created_by,
        from_micros(record.expires_at),
        record.size_bytes,
        _request(told["request"]),
        int(told["tries"]),
        told["problem"],
        told.get("said"),
        told.get("case"),
    )


def _request(told: dict[str, Any] | None) -> Request | None:
    if told is None:
        return None
    calls = told["calls"]
    known = {name: value for name, value in told.items() if name in Request.__dataclass_fields__}
    return Request(**{**known, "columns": tuple(told["columns"]), "calls": None if calls is None else tuple(calls)})
