"""A node as holder of a customer's keys, which follows the table `cuts` and opens nothing while it is behind.

    holder = Holder(name, database, keys, keys_dir, now, local)
    database.guard(holder.guard)             each transaction first applies the new lines
    await holder.begin()                     before anything is served
    await holder.turn()                      in the daemon, when something has changed (recorder.maintenance.holder_job)

`storage.cuts` decides the next step; this module carries it out:

    Apply            end this node's live calls that the line cuts; `CustomerKeys.follow` writes the line to the cut log
                     and cuts. Local parts are removed and running uploads end before the next acknowledgement.
    BringBack, AnnounceReturn    append a line to the table
    Acknowledge      after all earlier steps, and again after RENEW_AFTER

At a start, the clock of the database tells how long this node was away, because the node's own clock may be wrong by
days. While the node runs, its own clock measures; a clock that was set by a day, in either direction, counts as a day
away.

The first task that sees a line applies it: the loop, a transaction that would otherwise be behind (the guard), or the
task that wrote the line. Only the loop ends live calls, so other tasks leave a line that cuts a live call to the loop.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.cuts.holder_steps import (
    Acknowledge,
    AnnounceReturn,
    Apply,
    BringBack,
    Held,
    Table,
    acknowledged_by_all,
    followed_lines,
    holders_in,
    last_common,
    level,
    may_hand_over,
    may_overwrite,
    missing_holders,
    next_step,
    reduced,
)
from storage.cuts.lines import ChainKeys, Kind, Line, Numbered
from storage.database.database import Database, DatabaseAway
from storage.errors import StorageError
from storage.holders import cut_table
from storage.holders.cut_table import APPLIED, BY_ALL, ChangeMark, Place
from storage.holders.local_data import LocalData, entry
from storage.holders.return_file import ReturnFile, Standing
from storage.keys.cut_log import Entry, Ledger
from storage.keys.key_tree import LAST_LEAF
from storage.keys.sealing import DeletableKeys
from storage.timestamps import DAY_MICROS

RENEW_AFTER = timedelta(seconds=60)
"""After this time an unchanged acknowledgement is written again, to show that this node reaches the database."""

SILENT_AFTER = timedelta(days=1)
"""A holder that was silent for this long must return before it opens anything: it may have missed cuts."""

NOTE_AGAIN_AFTER = timedelta(minutes=10)
"""While the node runs, the time in the return file is renewed after this time."""

OTHERS_REMOVE_AFTER = timedelta(seconds=5)
"""After this time any holder may remove the rows of a line; until then only the node that wrote the line does."""

RETIRED_AFTER = timedelta(days=2)
"""How long a node that has not stopped must be silent before others may retire it: it may still be recording."""

Also = Callable[[AsyncConnection], Awaitable[None]]
"""Does additional work in the same transaction."""

_OWN: ContextVar[bool] = ContextVar("own", default=False)  # whether the guard lets this transaction through


async def nothing_more(connection: AsyncConnection) -> None:
    """Do nothing; the default of `also`."""


class CutsBehind(DatabaseAway):
    """This node may not open anything now: it has not applied all lines, must return first, or is not a holder."""


class HolderKeys(DeletableKeys, Protocol):
    """The methods of the keys that a holder needs (storage.keys.key_store.CustomerKeys)."""

    customer: str

    def follow(self, each: Numbered) -> Entry:
        """Append a line to the cut log with its number, then cut what it names; return the entry that was cut."""
        ...

    def state(self) -> bytes:
        """Return the serialised key tree, which is sealed on the disk."""
        ...

    def settle(self) -> bool:
        """Finish a cut that a crash interrupted."""
        ...

    def overwrite(self) -> None:
        """Destroy the keys."""
        ...


@dataclass(frozen=True, slots=True)
class Spread:
    """Progress of an erasure on all nodes."""

    done: bool
    """Whether every holder has made its cuts, and every node has indexed all calls from before the request."""
    waiting_for: tuple[str, ...]
    """Names of the nodes that have not made its cuts, or have not indexed all calls from before the request."""
    away: bool
    """Whether one of these nodes is away, so that the erasure may take long."""
    holders: Mapping[str, bool]
    """Every node that ever held the keys, by name, and whether it still holds them; a retired node does not."""


Stop = Callable[[str], Awaitable[None]]
"""Ends a live call before it is erased, and waits until it has ended."""


async def _not_live(call: str) -> None:
    """Do nothing, because no call is live without the daemon."""


class Holder:
    """This node as a holder of one customer's keys."""

    def __init__(
        self,
        name: str,
        database: Database,
        keys: HolderKeys,
        keys_dir: Path,
        now: Callable[[], datetime],
        local: LocalData,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.name = name
        self.customer = keys.customer
        #: Keys of the chain and of acknowledgements.
        self.chain = ChainKeys.of(partial(keys.secret, LAST_LEAF))
        #: Set when the loop has something to do: a line was written, or the tables have changed.
        self.wanted = asyncio.Event()
        #: Whether this node was retired and has overwritten its keys.
        self.gone = False
        #: Whether holders at the same line have different key trees. If so, no cut counts as done: it is an incident.
        self.trees_differ = False
        self._database = database
        self._keys = keys
        self._ledger = Ledger(keys_dir, keys.customer)
        self._file = ReturnFile(keys_dir, keys.customer)
        self._now = now
        self._local = local
        self._random = random
        self._following = asyncio.Lock()
        self._begun = False
        self._standing = Standing("")
        self._log: tuple[Numbered, ...] = ()
        self._offset = 0
        self._since = 0
        self._level: Place | None = None
        self._last_acknowledged: tuple[Place, datetime] | None = None  # the last acknowledgement and its time
        self._noted: datetime | None = None  # when the return file was last written
        self._tree = (-1, b"")
        self._dropping: list[Entry] = []
        self._written_here: set[str] = set()  # ids of lines that this process wrote
        self._idle_mark: ChangeMark | None = None  # change mark of the tables when nothing was left to do

    # --- may anything be opened? -------------------------------------------------------------------------------------

    async def guard(self, connection: AsyncConnection, writes: bool) -> None:
        """Apply the lines that this transaction sees; raise CutsBehind if this node may not open anything even then."""
        if _OWN.get():
            return
        if self.gone or self._silent():
            raise self._behind()
        place = await cut_table.newest(connection)
        if self._level != place and not await self._catch_up(connection):
            self.wanted.set()
            raise self._behind()

    async def is_level(self) -> bool:
        """Apply the lines that can be applied now; return whether this node may then open sealed values and upload."""
        with self._unguarded():
            async with self._database.reading() as connection:
                if self.gone or self._silent():
                    return False
                return self._level == await cut_table.newest(connection) or await self._catch_up(connection)

    async def applied(self) -> None:
        """Apply the lines written so far; raise CutsBehind if the loop must end live calls first."""
        self.wanted.set()
        if not await self.is_level():
            raise self._behind()

    def _behind(self) -> CutsBehind:
        if not self._begun:
            return CutsBehind("this node is still reading what was erased meanwhile", "try again in a few seconds")
        if self.name not in holders_in(self._log):
            if any(each.line.kind is Kind.RETIRE and each.line.node == self.name for each in self._log):
                return CutsBehind(
                    "this node was retired and serves nothing any more", "use another: recorder node list"
                )
            return CutsBehind("this node is not admitted", f"run on another node: recorder node admit {self.name}")
        if self._standing.returning is not None:
            hint = "wait until all other holders have acknowledged its return; recorder node list shows which run"
            return CutsBehind("this node was away for long, or its keys are an older copy", hint)
        return CutsBehind("this node has not yet erased what the others have", "try again in a few seconds")

    def _silent(self) -> bool:
        """Return whether the last acknowledgement is so old that this node must return."""
        return self._last_acknowledged is not None and abs(self._now() - self._last_acknowledged[1]) > SILENT_AFTER

    async def _catch_up(self, connection: AsyncConnection) -> bool:
        """Apply lines up to the first that cuts a live call; return whether this node may then open sealed values."""
        if not self._begun:
            return False
        async with self._following:
            table = await self._read(connection)
            while isinstance(step := next_step(self._held(), table, self.chain), Apply):
                if await asyncio.to_thread(self._local.live, step.next, self.customer):
                    return False
                await self._apply(step.next)
            return self._judge(table)

    def _judge(self, table: Table) -> bool:
        """Decide by the newest table whether this node may open sealed values, note the result and return it."""
        self._level = (table.head, table.chain(table.head)) if level(self._held(), table) else None
        if last_common(self._log, table) == table.head:
            self._log, self._since = reduced(self._log, table), table.head
        return self._level is not None

    # --- follow ------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Cut again what this node's cut log names, then apply new lines, before anything is served; repeatable.

        Leaves a line that cuts a live call to the loop. Raises StorageError.
        """
        if not self._begun:
            await asyncio.to_thread(self._keys.settle)
            await asyncio.to_thread(lambda: self._keys.repeat(self._ledger.entries()))
            self._standing = await asyncio.to_thread(self._file.read)
            self._log, self._offset = await asyncio.to_thread(self._ledger.followed)
            with self._unguarded():
                await self._find_standing()
            self._dropping += await asyncio.to_thread(lambda: list(self._ledger.entries()))
            self._begun = True
        with self._unguarded():
            async with self._database.reading() as connection:
                await self._catch_up(connection)

    async def _find_standing(self) -> None:
        """Decide whether this node must return; the first node of a database admits itself here."""
        async with self._database.reading() as connection:
            table, now = await cut_table.read(connection), await cut_table.moment(connection)
        await self._read_log()  # another process of this node may have applied and acknowledged a line meanwhile
        own = (table.acknowledged or {}).get(self.name)
        if not table.lines and not self._log:
            await self._stand(Standing(None, now))
            line = Line(self._new_id(), Kind.ADMIT, self.name)
            async with self._database.writing() as connection:
                if await cut_table.newest(connection) == cut_table.START:
                    await cut_table.append(connection, line, self.chain, self.customer)
        newer = own is not None and self.chain.genuine(own) and own.n > max(followed_lines(self._log), default=0)
        old = self._standing.at is None or abs(now - self._standing.at) > SILENT_AFTER
        if self._standing.returning is None and (newer or old):
            await self._stand(Standing(""))

    async def _stand(self, standing: Standing) -> None:
        await asyncio.to_thread(self._file.write, standing)
        self._standing = standing
        self._level = None

    async def turn(self, stop_live: Stop = _not_live) -> bool:
        """Take all steps that are due, up to the acknowledgement; raises StorageError.

        `stop_live` ends a live call of this node whose key is to be cut. Return False if nothing has changed since the
        last call.
        """
        self.wanted.clear()
        if not self._begun:
            await self.begin()
        with self._unguarded():
            if self.gone or await self._found_idle():
                return False
            try:
                await self._turn(stop_live)
            except BaseException:
                self._idle_mark = None
                raise
        return True

    async def _turn(self, stop_live: Stop) -> None:
        if self._silent() and self._standing.returning is None:
            await self._stand(Standing(""))
        table = await self._follow(stop_live)
        if self._level is not None:
            await self._remove(table)
        if may_overwrite(self._held(), table, self.chain):
            await asyncio.to_thread(self._keys.overwrite)
            self.gone, self._level = True, None

    async def depart(self) -> bool:
        """Apply the remaining lines on a node that may no longer serve, and overwrite its keys if it was retired.

        Return whether the keys are overwritten. Call it for a node that the registry refuses; repeatable. Raises
        StorageError.
        """
        await self.begin()
        if any(each.line.kind is Kind.RETIRE and each.line.node == self.name for each in self._log):
            await self.turn()
        return self.gone

    def is_idle(self, mark: ChangeMark) -> bool:
        """Return whether nothing remains to be done while the tables have this change mark."""
        unchanged = self._begun and mark == self._idle_mark and self._level == mark[0]
        return unchanged and not (self._dropping or self._due())

    async def _found_idle(self) -> bool:
        """Read the change mark, and return whether nothing remains to be done."""
        async with self._database.reading() as connection:
            mark = await cut_table.change_mark(connection)
        if self.is_idle(mark):
            return True
        self._idle_mark = mark if mark[1][0] >= 0 else None
        return False

    async def _follow(self, stop_live: Stop) -> Table:
        """Take steps until everything is acknowledged; return the table as it then is."""
        while True:
            async with self._database.reading() as connection, self._following:
                table = await self._read(connection)
            step = next_step(self._held(), table, self.chain)
            match step:
                case Apply(line):
                    for call in await asyncio.to_thread(self._local.live, line, self.customer):
                        await stop_live(call)
                    async with self._following:
                        await self._apply(line)
                case BringBack(line):
                    await self._append(line)
                case AnnounceReturn(None):
                    await self._stand(Standing(self._new_id()))
                case AnnounceReturn(str(id)):
                    await self._append(Line(id, Kind.RETURN, self.name))
                case Acknowledge():
                    await self._drop()
                    if await self._acknowledge(step, table):
                        self._judge(table)
                        return table

    async def _append(self, line: Line) -> None:
        async with self._database.writing() as connection:
            await cut_table.append(connection, line, self.chain, self.customer)

    async def _read(self, connection: AsyncConnection) -> Table:
        """Read the table from `_since` on and the lines that this node has applied; after a fail-over read all."""
        await self._read_log()
        table = await cut_table.read(connection, self._since)
        if self._since and last_common(self._log, table) < self._since:
            self._since = 0
            self._log, self._offset = await asyncio.to_thread(self._ledger.followed)
            table = await cut_table.read(connection)
        return table

    async def _read_log(self) -> None:
        """Read the lines that any process of this node has added to the cut log since the last call."""
        more, self._offset = await asyncio.to_thread(self._ledger.followed, self._offset)
        self._log = (*self._log, *more)

    def _held(self) -> Held:
        return Held(self.name, self._log, self._standing.returning)

    async def _apply(self, line: Numbered) -> None:
        """Append a line to the cut log and cut what it names; the caller holds the lock `_following`."""
        self._level = None
        own = followed_lines(self._log).get(line.n)
        if own is not None and own.chain == line.chain:
            return  # another task has applied it meanwhile
        try:
            cut = await asyncio.to_thread(self._keys.follow, line)
        except BaseException:
            self._begun = False  # the line may be in the log without its cut
            raise
        await self._read_log()
        self._dropping.append(cut)

    async def _drop(self) -> None:
        """Remove all local parts whose keys were cut, and wait until their uploads have ended."""
        while self._dropping:
            some = list(self._dropping)
            await asyncio.to_thread(self._local.drop, some)
            del self._dropping[: len(some)]

    async def _acknowledge(self, step: Acknowledge, table: Table) -> bool:
        """Write the acknowledgement if it is new or due; return False if a fail-over has changed the table."""
        place = (step.n, step.chain)
        own = self.chain.acknowledge(self.name, *place, await self._tree_mac())
        if own != (table.acknowledged or {}).get(self.name) or self._due():
            async with self._database.writing() as connection:
                if not await cut_table.acknowledge(connection, own):
                    return False
            self._last_acknowledged = place, self._now()
        if step.returned or (self._standing.returning is None and self._old_note()):
            async with self._database.reading() as connection:
                at = await cut_table.moment(connection)
            await self._stand(Standing(None, at))
            self._noted = self._now()
        return True

    def _due(self) -> bool:
        """Return whether the unchanged acknowledgement must be written again."""
        return self._last_acknowledged is None or abs(self._now() - self._last_acknowledged[1]) > RENEW_AFTER

    def _old_note(self) -> bool:
        return self._noted is None or abs(self._now() - self._noted) > NOTE_AGAIN_AFTER

    async def _tree_mac(self) -> bytes:
        """Return the MAC of the key tree, computed once after each cut."""
        generation = self._keys.generation
        if self._tree[0] != generation:
            self._tree = generation, await asyncio.to_thread(lambda: self.chain.tree(self._keys.state()))
        return self._tree[1]

    # --- remove ------------------------------------------------------------------------------------------------------

    async def _remove(self, table: Table) -> None:
        """Remove the rows and objects of lines, once after this node has applied a line and again after all have."""
        async with self._database.reading() as connection:
            lines = await cut_table.unremoved(connection)
        mine = last_common(self._log, table)
        for each, stage in lines:
            if each.n > mine or table.head < each.n:
                continue
            cut, done = entry(each.line, self.customer), stage
            others = abs(self._now() - cut.at) > OTHERS_REMOVE_AFTER
            if stage < APPLIED and (each.line.id in self._written_here or others):
                await self._local.remove(cut)
                done = APPLIED
            if done >= APPLIED and acknowledged_by_all(table, each.n, self.chain):
                await self._local.remove_objects(cut)
                done = BY_ALL
            if done > stage:
                async with self._database.writing() as connection:
                    await cut_table.removed(connection, [each.line], done)
            if done == BY_ALL:
                self._written_here.discard(each.line.id)
        self.trees_differ = not missing_holders(table, mine, self.chain) and not acknowledged_by_all(
            table, mine, self.chain
        )

    async def spread(self, connection: AsyncConnection, erasure: str, requested_at: int) -> Spread:
        """Return the progress of an erasure as a transaction sees it; `requested_at` in microseconds."""
        n, _ = await cut_table.newest(connection)
        table = await cut_table.read(connection, n)
        lines = await cut_table.of_erasure(connection, erasure)
        behind = {name for n, _ in lines for name in missing_holders(table, n, self.chain)}
        behind |= await cut_table.unindexed(connection, requested_at)
        done = all(acknowledged_by_all(table, n, self.chain) and stage == BY_ALL for n, stage in lines)
        holders = {each.line.node: False for each in table.lines if each.line.kind is Kind.ADMIT}
        holders |= dict.fromkeys(table.holders, True)
        away = await cut_table.away(connection, behind)
        return Spread(done and not behind, tuple(sorted(behind)), bool(away), holders)

    async def written(self, connection: AsyncConnection) -> int:
        """Return the time, in microseconds, since which every node has written or has been waited for long enough."""
        return await cut_table.written(connection)

    async def away(self) -> dict[str, float | None]:
        """Return the other holders that are away, each with the seconds of its silence, None if unknown."""
        others = await self.others()
        with self._unguarded():
            async with self._database.reading() as connection:
                away = await cut_table.away(connection, others)
                return {name: await cut_table.silent_for(connection, name) for name in away}

    async def day_is_settled(self, connection: AsyncConnection, day: int) -> bool:
        """Return whether every node, retired ones too, has indexed all calls of a day (days since 1970-01-01)."""
        return not await cut_table.unindexed(connection, (day + 1) * DAY_MICROS, retired=True)

    # --- cut ---------------------------------------------------------------------------------------------------------

    async def append_cut(self, connection: AsyncConnection, text: str) -> None:
        """Append the line of a cut with this text, in a transaction of the caller that `guard` has let through."""
        line = Line(self._new_id(), Kind.CUT, text=text)
        await cut_table.append(connection, line, self.chain, self.customer)
        self._written_here.add(line.id)

    # --- holders come and go -----------------------------------------------------------------------------------------

    async def table(self) -> Table:
        """Return the lines that change who holds the keys, the newest line, and all acknowledgements."""
        with self._unguarded():
            async with self._database.reading() as connection:
                n, _ = await cut_table.newest(connection)
                return await cut_table.read(connection, n)

    async def others(self) -> frozenset[str]:
        """Return the names of the other nodes that hold the keys."""
        return (await self.table()).holders - {self.name}

    async def returning(self) -> tuple[str, ...]:
        """Return the names of the holders whose return not all holders have acknowledged yet, sorted."""
        table = await self.table()
        returns = {each.line.node: each.n for each in table.lines if each.line.kind is Kind.RETURN}
        waiting = (name for name, n in returns.items() if missing_holders(table, n, self.chain))
        return tuple(sorted(table.holders.intersection(waiting)))

    async def admit(self, name: str, also: Also = nothing_more) -> None:
        """Append the line that makes another node a holder; repeatable.

        Raises StorageError if it was retired, CutsBehind, and what `also` raises.
        """
        async with self._database.writing() as connection:
            await also(connection)
            table = await cut_table.read(connection, (await cut_table.newest(connection))[0])
            if name not in table.holders:
                if table.at(Kind.RETIRE, name):
                    raise StorageError(f"node {name} was retired", "give the new node another name")
                await cut_table.append(connection, Line(self._new_id(), Kind.ADMIT, name), self.chain, self.customer)
        await self.applied()

    async def ready_for(self, name: str) -> tuple[str, ...]:
        """Return the names of the nodes that have not yet acknowledged an admission; () if the keys may be handed over.

        `name`: the node that was admitted.
        """
        table = await self.table()
        if may_hand_over(table, name, self.chain):
            return ()
        left = [each for n in table.at(Kind.ADMIT, name)[-1:] for each in missing_holders(table, n, self.chain)]
        return tuple(each for each in left if each != name) or (self.name,)

    async def retire(self, name: str, also: Also = nothing_more) -> None:
        """Append the line that ends another node's role as holder; repeatable.

        Raises StorageError if it is this node or a node that has not been silent for long enough, CutsBehind, and what
        `also` raises.
        """
        if name == self.name:
            raise StorageError("a node cannot retire itself", "run the command on a node that stays")
        async with self._database.writing() as connection:
            table = await cut_table.read(connection, (await cut_table.newest(connection))[0])
            if name in table.holders:
                silent = await cut_table.silent_for(connection, name)
                if silent is not None and silent < RETIRED_AFTER.total_seconds():
                    problem = f"node {name} was running {silent / 3600:.1f} hours ago"
                    raise StorageError(problem, "stop its recorder, or wait until it has been silent for two days")
                await cut_table.append(connection, Line(self._new_id(), Kind.RETIRE, name), self.chain, self.customer)
            await also(connection)
        await self.applied()

    def _new_id(self) -> str:
        return self._random(16).hex()

    @contextmanager
    def _unguarded(self) -> Iterator[None]:
        """Let the transactions of the block pass the guard, which would otherwise wait for this holder."""
        token = _OWN.set(True)
        try:
            yield
        finally:
            _OWN.reset(token)
