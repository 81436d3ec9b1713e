"""Erasures: request, approval, execution, proof.

For the API:
    erasure = await customer.erasures.file(calls=[…], reason=…, by=NAME)     or party=…, or query=…, instead of calls
        raises NoWaiver (409), Held (409, `ids`); `approval=True` if the customer requires a second person
        `told` writes the audit log; if it raises, the request is undone
    erasure = await customer.erasures.approve(id, by=NAME)
        raises NoErasure (404), OwnRequest (403), NoWaiver (409)
    erasure = await customer.erasures.get(id)                                Erasure or None: id, state, receipt, …
    rows    = await customer.erasures.open()                                 those that are not done
    page    = await customer.erasures.done(limit, cursor)                    those that are done
For the daemon (recorder.maintenance.retention_job):
    await customer.erasures.work(stop_live)    carries out what is possible; False if it must be tried again
    customer.erasures.wanted                   asyncio.Event: there is work
    customer.erasures.erased                   calls that were erased since the start

An erasure is `done` only after every step of every call was done and verified, and a receipt was written. A request is
durable when `file` returns; if the process is killed, `work` continues where it stopped
(storage.erasure.erasure_rows).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from personal import Personal
from storage import cursors
from storage.access import actor
from storage.audit.audit_log import Audit, AuditNote, unaudited
from storage.audit.hash_chain import Act
from storage.batches import batches
from storage.calls import stored_query
from storage.calls.call_index import Calls
from storage.calls.call_row import DAY_SHIFT, Query
from storage.database.database import Database, once_committed
from storage.database.database_clock import NOW
from storage.database.schema import erasures
from storage.erasure import erasure_rows as rows
from storage.erasure import receipts, waivers
from storage.erasure.erasure_rows import Erasure, ErasureTarget, State, Step, shown
from storage.erasure.erasure_steps import ErasureSteps
from storage.erasure.receipts import Locked
from storage.errors import StorageError
from storage.ids import is_id, new_id
from storage.journal import journal
from storage.journal.journal import Journal
from storage.json_bytes import ascii_json
from storage.keys import sealing
from storage.timestamps import day_of, to_micros
from storage.vault.vault import Vault

if TYPE_CHECKING:
    from storage.holders.holder import Spread

RECORDER = actor.RECORDER.name
_KIND = "erasure"

T = TypeVar("T")
StopLive = Callable[[str], Awaitable[None]]
"""Ends the recording of a call; returns when nothing more is written, or at once if the call is not live."""

Settled = Callable[[], Awaitable[object]]
"""Makes sure that the index has all calls before it is searched; if it raises, nothing is changed."""


Spreading = Callable[[AsyncConnection, str, int], Awaitable["Spread"]]
"""Returns which nodes have carried out an erasure, given its id and the time of the request."""


Written = Callable[[AsyncConnection], Awaitable[int]]
"""Returns a time by the database's clock since which every node that could has restored what the database had lost."""


async def unsettled() -> None:
    """Use the index as it is."""


class NoWaiver(StorageError):
    """There is no active waiver, so nothing may be erased before retention ends."""


class Held(StorageError):
    """Calls of the request are under legal hold; the request was not filed."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__("calls of this request are under legal hold")
        self.ids = tuple(ids)


class NoErasure(StorageError):
    """There is no such erasure."""


class OwnRequest(StorageError):
    """Nobody may approve their own request."""


class Erasures:
    """The erasures of one customer."""

    def __init__(
        self,
        customer: str,
        keys: sealing.DeletableKeys,
        vault: Vault,
        database: Database,
        calls: Calls,
        audit: Audit,
        steps: ErasureSteps,
        kept: Journal,
        key: Ed25519PrivateKey,
        now: Callable[[], datetime],
        gap: Callable[[], int | None],
        random: Callable[[int], bytes] = os.urandom,
        spread: Spreading | None = None,
        written: Written | None = None,
    ) -> None:
        """Take `gap`, which returns the day from which the index may lack recordings; any thread may call it.

        If several nodes hold the keys, `spread` returns which of them have carried out an erasure, and `written` since
        when each has written to this database.
        """
        self.wanted = asyncio.Event()
        self.erased = 0
        """Calls that were erased since the start."""
        self.soon = False
        """Whether this node is carrying out an erasure with other nodes, or waits for nodes that are not away."""
        self._gap = gap
        self._customer = customer
        self._keys = keys
        self._vault = vault
        self._database = database
        self._calls = calls
        self._audit = audit
        self._steps = steps
        self._journal = kept
        self._key = key
        self._now = now
        self._random = random
        self._spread = spread
        self._written = written
        self._working = asyncio.Lock()

    def gap(self) -> int | None:
        """Return the day from which the index may lack recordings, None if it lacks at most those of the last days."""
        return self._gap()

    def look_from(self, gap: Callable[[], int | None]) -> None:
        """Replace `gap` (see `__init__`)."""
        self._gap = gap

    async def with_reserve(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work that leads to an erasure, even on a full disk (storage.erasure.erasure_steps)."""
        return await self._steps.with_reserve(work)

    # --- ask ---------------------------------------------------------------------------------------------------------

    async def file(
        self,
        *,
        calls: Sequence[str] | None = None,
        party: str | None = None,
        query: Query | None = None,
        reason: str,
        by: str,
        identity: str = "",
        approval: bool = False,
        told: AuditNote = unaudited,
    ) -> Erasure:
        """File a request for exactly one of `calls`, `party` and `query`; raises NoWaiver, Held, ValueError.

        `identity`: id of the requester, independent of names (storage.access.actor).
        """
        if sum(given is not None for given in (calls, party, query)) != 1:
            raise ValueError("an erasure needs exactly one of calls, party and query")
        query = query if party is None else Query(party=Personal(party))
        ids = await self._meant(query) if calls is None else sorted({c for c in calls if is_id(c)})
        stored = await self._unindexed(ids)
        id, leaf = new_id(self._random), sealing.new_leaf(self._keys)
        sealed = {"reason": reason[: sealing.MAX_TEXT], "identity": identity, **stored_query.written(query)}
        values = {
            "id": id,
            "state": (State.APPROVAL if approval else State.RUNNING).value,
            "cause": rows.REQUEST,
            "requested_by": by,
            "leaf": leaf,
            "sealed": sealing.seal(self._keys, leaf, _KIND, id, sealed),
        }

        async def write() -> Erasure:
            async with self._database.writing() as connection:
                await self._permit(connection)
                held = await rows.held_of(connection, ids)
                if held and calls is not None:
                    raise Held(held)
                await rows.file(connection, {**values, "requested_at": await self.moment(connection)})
                await self._add(connection, id, ids, stored)
                await told(id)
                await self._journal.write(await journal.request(connection, id))  # last: a restore brings this back
                return shown(await rows.one(connection, id))

        made = await self._steps.with_reserve(write)
        self.wanted.set()
        return made

    async def approve(
        self, id: str, *, by: str, identity: str = "", told: AuditNote = unaudited, settled: Settled = unsettled
    ) -> Erasure:
        """Approve a request, or a sweep that its limit stopped; approving it again changes nothing.

        Raises NoErasure, OwnRequest, NoWaiver. A query is run again after `settled`, so that calls made since the
        request are included.
        """
        query = await self._asked(id, by, identity)
        if query is not None:
            await settled()
        ids = await self._meant(query)
        stored = await self._unindexed(ids)
        async with self._database.writing() as connection:
            record = await rows.one(connection, id)
            if record is not None and record.state == State.APPROVAL:
                if record.cause == rows.REQUEST:
                    await self._permit(connection)
                known = set(await rows.calls_of(connection, id))
                await self._add(connection, id, [call for call in ids if call not in known], stored)
                granted = {"state": State.RUNNING.value, "approved_at": to_micros(self._now()), "approved_by": by}
                await connection.execute(erasures.update().where(erasures.c.id == id).values(**granted))
            await told(id)
            granted_record = await rows.one(connection, id)
            if record is not None and record.state == State.APPROVAL and record.cause == rows.REQUEST:
                await self._journal.write(await journal.request(connection, id))  # a lost sweep asks again by itself
        self.wanted.set()
        return shown(granted_record)

    async def get(self, id: str) -> Erasure | None:
        """Return an erasure, None if there is none."""
        async with self._database.reading() as connection:
            record = await rows.one(connection, id)
            return None if record is None else await self._shown(connection, record)

    async def open(self) -> tuple[Erasure, ...]:
        """Return the erasures that are not done, oldest first; for approvers and for incidents."""
        async with self._database.reading() as connection:
            return tuple([await self._shown(connection, record) for record in await rows.undone(connection)])

    async def done(self, limit: int, cursor: str | None = None) -> tuple[Sequence[Erasure], str | None]:
        """Return a page of finished erasures, newest first and without receipts, and the cursor of the next page.

        Raises BadCursor.
        """
        async with self._database.reading() as connection:
            found = await rows.done(connection, limit + 1, None if cursor is None else cursors.read_by_time(cursor))
        more = cursors.by_time(found[limit - 1].done_at, found[limit - 1].id) if len(found) > limit else None
        return tuple(shown(record) for record in found[:limit]), more

    async def _shown(self, connection: AsyncConnection, record: Any) -> Erasure:
        """Build an erasure from its row, with the nodes it waits for."""
        erasure = shown(record)
        if self._spread is None or record.state not in (State.CUT, State.WAITING):
            return erasure
        spread = await self._spread(connection, record.id, record.requested_at)
        return replace(erasure, waiting_for=spread.waiting_for)

    async def own(self, id: str, *, by: str, identity: str) -> bool:
        """Return whether somebody may not approve an erasure, because it is their own or does not exist."""
        try:
            await self._asked(id, by, identity)
        except (NoErasure, OwnRequest):
            return True
        return False

    async def _asked(self, id: str, by: str, identity: str) -> Query | None:
        """Return the query of a request that waits for approval; raises NoErasure, OwnRequest.

        Requests of earlier versions have only a name. A request that no longer waits cannot be approved.
        """
        async with self._database.reading() as connection:
            record = await rows.one(connection, id)
        if record is None:
            raise NoErasure("there is no such erasure")
        waits = record.state == State.APPROVAL and record.sealed is not None
        told = sealing.unseal(self._keys, record.leaf, _KIND, id, record.sealed) if waits else {}
        if actor.same(str(told.get("identity", "")), record.requested_by, identity, by):
            raise OwnRequest("a second person has to approve this")
        return stored_query.read(told) if waits else None

    async def _permit(self, connection: AsyncConnection) -> None:
        if not await waivers.permitted(connection, self._now()):
            raise NoWaiver("immediate erasure needs an active waiver", "put one on file first")

    async def _meant(self, query: Query | None) -> list[str]:
        if query is None:
            return []
        query = replace(query, exact=True, cursor=None)
        return sorted({row.id async for row in self._calls.every(query)})

    async def _unindexed(self, ids: Sequence[str]) -> dict[str, int]:
        """Find unindexed recordings by their files: of the last days, or of all days that the index may lack."""
        async with self._database.reading() as connection:
            unknown = set(ids) - set(await rows.leaves_of(connection, ids))
        if not unknown:
            return {}
        yesterday = day_of(self._now()) - 1

        def look() -> dict[str, int]:
            first = self.gap()
            since = self._vault.since(yesterday if first is None else min(yesterday, first))
            found = {ref.call: ref.leaf for ref in since if ref.call in unknown}
            return {id: leaf for id, leaf in found.items() if self._keys.keeps(leaf)}

        return await asyncio.to_thread(look)

    async def _add(self, connection: AsyncConnection, id: str, ids: Sequence[str], stored: dict[str, int]) -> None:
        leaves = {**stored, **await rows.leaves_of(connection, ids)}
        await rows.add_calls(connection, id, {call: leaves.get(call) for call in ids})

    async def join(self, connection: AsyncConnection, ids: Sequence[str] | None = None) -> None:
        """Erase new calls if another recording of their session was to be erased: no recording of it may be left.

        Without `ids`, look at all calls, as after lost erasures were restored to the database.
        """
        for late in await rows.erased_sessions(connection, ids):
            record = await rows.one(connection, late.erasure)
            id = late.erasure
            if record.state == State.DONE:
                id, leaf = new_id(self._random), sealing.new_leaf(self._keys)
                told = {"reason": "another recording of a session that was erased", "identity": ""}
                same = ("cause", "requested_by", "approved_by", "approved_at")
                values = {name: getattr(record, name) for name in same}
                values |= {"id": id, "state": State.RUNNING.value, "requested_at": await self.moment(connection)}
                values |= {"leaf": leaf, "sealed": sealing.seal(self._keys, leaf, _KIND, id, told)}
                await rows.file(connection, values)
            await rows.add_calls(connection, id, {late.id: late.leaf})
            if record.cause == rows.REQUEST:
                await self._journal.write(await journal.request(connection, id))
            once_committed(self.wanted.set)

    async def moment(self, connection: AsyncConnection) -> int:
        """Return the time for a request that is filed now, in microseconds.

        With several nodes, this is the time by the clock of the database, by which each node also states until when it
        has indexed its calls. By a clock that is an hour ahead, an erasure would wait for an hour; by one that is
        behind, it would not wait at all.
        """
        if self._spread is None:
            return to_micros(self._now())
        return int(await connection.scalar(sa.select(NOW)) or 0)

    async def any_open(self) -> bool:
        """Return whether any erasure is open."""
        async with self._database.reading() as connection:
            return await rows.any_open(connection)

    # --- carry out ---------------------------------------------------------------------------------------------------

    async def work(self, stop_live: StopLive | None = None) -> bool:
        """Carry out every erasure that no hold and no approval stops; raises StorageError; may then be called again.

        Return False if a live call could not be stopped, or other nodes are about to erase; then call it again soon.
        """
        async with self._working:
            self.wanted.clear()
            well = await self._steps.with_reserve(lambda: self._work(stop_live))
            await asyncio.to_thread(self._steps.reserve_space)
            await asyncio.to_thread(self._journal.prepare)
            return well

    async def _work(self, stop_live: StopLive | None) -> bool:
        while True:
            async with self._database.writing() as connection:
                await self._journal.compare(connection)
                before = None if self._written is None else await self._written(connection)
                going = await rows.begin(connection, before=before)
            ready, failed = await self._stop(going, stop_live)
            if ready:
                self.soon = self._spread is not None
                await self._forget(ready)
            self.soon = await self._conclude()
            if not ready or failed:
                return not failed and not self.soon

    async def _stop(
        self, going: list[tuple[ErasureTarget, Step]], stop_live: StopLive | None
    ) -> tuple[list[tuple[ErasureTarget, Step]], bool]:
        """Stop live calls; return those that can be erased now, and whether any could not be stopped.

        A call of another node stays until that node has ended it: its key must not be cut while it is recorded. If
        several nodes hold the keys, each ends its own calls before it cuts (storage.holders).
        """
        begun = {d.call for d, step in going if step == Step.BEGUN}
        if not begun:
            return going, False
        failed = set() if self._spread is not None else begun & await self._calls.elsewhere()
        if stop_live is not None:
            failed |= await self._unstopped(begun - failed, stop_live)
        return [(d, step) for d, step in going if d.call not in failed], bool(failed)

    async def _unstopped(self, begun: set[str], stop_live: StopLive) -> set[str]:
        """Stop those of the calls that are live here; return those that could not be stopped."""
        writing = await asyncio.to_thread(lambda: {ref.call for ref in self._vault.left_open()})
        live = sorted(begun & (writing | {id for id, _ in await self._calls.unfinished()}))
        ended = await asyncio.gather(*(stop_live(call) for call in live), return_exceptions=True)
        return {call for call, result in zip(live, ended, strict=True) if isinstance(result, BaseException)}

    async def _forget(self, going: list[tuple[ErasureTarget, Step]]) -> None:
        """Take each step for all calls that need it together: one cut, one new index of a day, one scrub."""

        def behind(step: Step) -> list[ErasureTarget]:
            return [d for d, at in going if at < step]

        fresh = behind(Step.UNLINKED)
        if fresh:
            await self._steps.cut(fresh, self._now())
            await self._steps.unlink(fresh)
            await self._note("erasure.cut", "", f"{len(fresh)} calls")
            await self._mark(fresh, Step.UNLINKED)
        removable = behind(Step.REMOVED)
        await self._steps.remove(removable)
        await self._forget_reasons()
        await self._mark(removable, Step.REMOVED)
        unindexed = behind(Step.INDEXED)
        await self._steps.reindex(d.leaf >> DAY_SHIFT for d in unindexed)
        await self._mark(unindexed, Step.INDEXED)
        everything = [d for d, _ in going]
        await self._steps.verify(everything)
        await self._mark(everything, Step.VERIFIED)
        self.erased += len(everything)

    async def _mark(self, targets: Sequence[ErasureTarget], step: Step) -> None:
        if targets:
            async with self._database.writing() as connection:
                await rows.mark(connection, [d.call for d in targets], step)

    async def _forget_reasons(self) -> None:
        """Delete query and reason of erasures whose leaf is cut."""
        open_ones = erasures.select().where(erasures.c.state.in_(rows.OPEN), erasures.c.sealed.is_not(None))
        async with self._database.writing() as connection:
            found = [r.id for r in await connection.execute(open_ones) if not self._keys.keeps(r.leaf)]
            for part in batches(found):
                await connection.execute(erasures.update().where(erasures.c.id.in_(part)).values(sealed=None))

    async def _conclude(self) -> bool:
        """Sign receipts for finished erasures, and update the state of those that wait.

        Return whether an erasure waits for nodes that are not away.
        """
        soon = False
        async with self._database.reading() as connection:
            found = await rows.progress(connection)
        done = [record for record, _, left in found if not left]
        if self._spread is not None:
            told = [(record, await self._everywhere(record, self._spread)) for record in done]
            done = [record for record, state in told if state is State.DONE]
            soon = any(state is State.CUT for _, state in told)
        cut = [record.leaf for record in done if record.leaf is not None and self._keys.keeps(record.leaf)]
        if cut:
            await self._steps.cut_leaves(*cut)
        for record in done:
            await self._sign(record)
        for record, waiting, left in found:
            state = State.WAITING if waiting else State.RUNNING
            if left and record.state != state:
                async with self._database.writing() as connection:
                    await connection.execute(
                        erasures.update().where(erasures.c.id == record.id).values(state=state.value)
                    )
                if waiting:
                    await self._note("erasure.wait", record.id, f"{waiting} calls are under legal hold")
        return soon

    async def _everywhere(self, record: Any, spread: Spreading) -> State:
        """Return the state of an erasure with nothing left to do on this node: CUT, WAITING or DONE."""
        async with self._database.writing() as connection:
            if await rows.found_late(connection, record.id):
                return State.CUT
            told = await spread(connection, record.id, record.requested_at)
            if told.done:
                return State.DONE
            state = State.WAITING if told.away else State.CUT
            changed = erasures.update().where(erasures.c.id == record.id, erasures.c.state != state.value)
            news = (await connection.execute(changed.values(state=state.value))).rowcount
        if news and told.away:
            await self._note("erasure.wait", record.id, f"{len(told.waiting_for)} nodes have not erased it yet")
        return state

    async def _sign(self, record: Any) -> None:
        async with self._database.reading() as connection:
            stored = await rows.recordings_of(connection, record.id) if self._vault.remote else []
        kept = await asyncio.to_thread(self._vault.kept, stored)
        await self._note("erasure.done", record.id)
        async with self._database.writing() as connection:
            named = await rows.calls_of(connection, record.id)
            now = self._now()
            locked = [Locked(call, each.name, each.until) for call, each in kept]
            held: Mapping[str, bool] = {}
            if self._spread is not None:
                held = (await self._spread(connection, record.id, record.requested_at)).holders
            facts = _facts(self._customer, shown(record), named, now, locked, held)
            packed = await asyncio.to_thread(_signed, self._key, facts)  # slow for a sweep of 100,000 calls
            values = {"state": State.DONE.value, "done_at": to_micros(now), "leaf": None, "sealed": None}
            await connection.execute(
                erasures.update().where(erasures.c.id == record.id).values(**values, receipt=packed)
            )
            await self._journal.keep(connection, erasures, erasures.c.id == record.id)

    async def _note(self, action: str, object: str, reason: str = "") -> None:
        await asyncio.wrap_future(self._audit.append(Act.of(actor.RECORDER, "system", action, object, "done", reason)))


def _signed(key: Ed25519PrivateKey, facts: receipts.Facts) -> bytes:
    return ascii_json(receipts.sign(key, facts))


def _facts(
    customer: str,
    erasure: Erasure,
    calls: Sequence[str],
    done_at: datetime,
    locked: Sequence[Locked],
    holders: Mapping[str, bool],
) -> receipts.Facts:
    return receipts.Facts(
        customer,
        erasure.id,
        erasure.cause,
        erasure.rule,
        calls,
        erasure.requested_by,
        erasure.requested_at,
        erasure.approved_by,
        erasure.approved_at,
        done_at,
        locked,
        holders,
    )
