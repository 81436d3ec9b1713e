"""This node as a holder of a customer's keys: it follows the table `cuts`, and opens nothing while it is behind.

    holder = Holder(name, database, keys, keys_dir, now, local)
    database.guard(holder.guard)             each transaction first follows what was cut meanwhile
    await holder.begin()                     before anything is served
    await holder.turn()                      when something has changed, in the daemon (recorder.maintenance.holder_job)

`storage.cuts` decides what comes next; here each step is carried out:

    Apply         end own live calls among the leaves; `CustomerKeys.follow` writes the line to the cut log and cuts.
                  Local parts go and running uploads end before the next acknowledgement.
    BringBack, SayReturn    append a line to the table
    Acknowledge   when everything before is done, and at least every RENEW seconds

How long this node was away is told by the clock of the database: its own may be wrong by days, and at a start nothing
else knows. While it runs its own clock measures, and a clock that was set by a day, either way, counts as a day away.

A line is applied by whoever meets it first: the loop, a transaction that would otherwise be behind (the guard), or the
task that wrote it. Only the loop ends live calls, so the others leave a line that names one to it.
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

from storage.cuts.holder import (
    Acknowledge,
    Apply,
    BringBack,
    Held,
    SayReturn,
    Table,
    acknowledged,
    common,
    level,
    may_hand_over,
    may_overwrite,
    missing_holders,
    next_step,
    path,
    reduced,
    serving,
)
from storage.cuts.lines import ChainKeys, Kind, Line, Numbered
from storage.database.database import Database, DatabaseAway
from storage.errors import StorageError
from storage.holders import cut_table
from storage.holders.cut_table import APPLIED, BY_ALL, Place, Rest
from storage.holders.local_data import LocalData, entry
from storage.holders.return_file import ReturnFile, Standing
from storage.keys.cut_log import Entry, Ledger
from storage.keys.key_tree import LAST_LEAF
from storage.keys.sealing import DeletableKeys
from storage.timestamps import DAY_MICROS

RENEW = timedelta(seconds=60)
"""An acknowledgement that says nothing new is written again after this time: the database was there."""

SILENT = timedelta(days=1)
"""A holder that did not acknowledge for so long returns before it opens anything: others may know what it does not."""

NOTED = timedelta(minutes=10)
"""How old the time in the file of the return may be while the node runs."""

OTHERS = timedelta(seconds=5)
"""After this time any holder removes the rows of a line; before, the one that wrote it is at it."""

RETIRED_AFTER = timedelta(days=2)
"""A node that may still record is not retired: it must have stopped, or been silent for so long."""

Also = Callable[[AsyncConnection], Awaitable[None]]
"""Does more in the same transaction."""

_OWN: ContextVar[bool] = ContextVar("own", default=False)  # a transaction of the holder itself, which no guard stops


async def nothing_more(connection: AsyncConnection) -> None:
    """Do nothing; the default of `also`."""


class CutsBehind(DatabaseAway):
    """This node has not cut yet what others have, or may not open anything for another reason."""


class HolderKeys(DeletableKeys, Protocol):
    """What a holder needs of the keys (storage.keys.key_store.CustomerKeys)."""

    customer: str

    def follow(self, each: Numbered) -> Entry:
        """Append a line to the cut log at its place, then forget what it names."""
        ...

    def state(self) -> bytes:
        """Return the tree as it is sealed."""
        ...

    def settle(self) -> bool:
        """Finish a cut that a crash interrupted."""
        ...

    def overwrite(self) -> None:
        """Destroy the keys."""
        ...


@dataclass(frozen=True, slots=True)
class Spread:
    """How far an erasure has come among the nodes."""

    done: bool
    """Whether every holder has cut it, and no node can still bring a call of before the request."""
    waiting_for: tuple[str, ...]
    """Nodes that have not cut it, or not indexed everything of before the request, by name."""
    away: bool
    """Whether one of these is not there, so that it may take long."""
    holders: Mapping[str, bool]
    """Every node that ever held the keys, and whether it still does; a retired one does not."""


async def _not_live(call: str) -> None:
    """Do nothing: without the daemon no call is live."""


class Holder:
    """The holder that this node is."""

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
        #: For the chain and for acknowledgements.
        self.chain = ChainKeys.of(partial(keys.secret, LAST_LEAF))
        #: Ends a live call of this node.
        self.stop_live: Callable[[str], Awaitable[None]] = _not_live
        #: Set when the loop has something to do: a line was written, or the tables have changed.
        self.wanted = asyncio.Event()
        #: Whether this node was retired and has overwritten its keys.
        self.gone = False
        #: Whether holders of the same lines have different trees: an incident, and nothing is done any more.
        self.torn = False
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
        self._told: tuple[Place, datetime] | None = None  # the last acknowledgement, and when
        self._noted: datetime | None = None  # when the file of the return was written last
        self._tree = (-1, b"")
        self._dropping: list[Entry] = []
        self._filed: set[str] = set()  # ids of lines that this process wrote
        self._rest: Rest | None = None  # what the tables said when nothing was left to do

    # --- may anything be opened? -------------------------------------------------------------------------------------

    async def guard(self, connection: AsyncConnection, writes: bool) -> None:
        """Follow the table as this transaction sees it; raises CutsBehind if this node is behind nevertheless."""
        if _OWN.get():
            return
        if self.gone or self._silent():
            raise self._behind()
        place = await cut_table.newest(connection)
        if self._level != place and not await self._catch_up(connection):
            self.wanted.set()
            raise self._behind()

    async def is_level(self) -> bool:
        """Say whether this node may open sealed values now, and upload; follow the table if it is only behind."""
        with self._unguarded():
            async with self._database.reading() as connection:
                if self.gone or self._silent():
                    return False
                return self._level == await cut_table.newest(connection) or await self._catch_up(connection)

    async def applied(self) -> None:
        """Apply the lines that were written until now; raises CutsBehind if the loop has to end live calls first."""
        self.wanted.set()
        if not await self.is_level():
            raise self._behind()

    def _behind(self) -> CutsBehind:
        if not self._begun:
            return CutsBehind("this node does not know yet what was erased meanwhile", "it is found out at once")
        if self.name not in serving(self._log):
            if any(each.line.kind is Kind.RETIRE and each.line.node == self.name for each in self._log):
                return CutsBehind("this node was retired", "it serves nothing any more: recorder node list")
            return CutsBehind("this node is not admitted", f"on another one: recorder node admit {self.name}")
        if self._standing.returning is not None:
            hint = "it serves again when all others have said what it may have missed: recorder node list"
            return CutsBehind("this node was away, or has older keys", hint)
        return CutsBehind("this node has not erased yet what the others have", "it does so within seconds")

    def _silent(self) -> bool:
        """Say whether the last acknowledgement is so old that this node must return."""
        return self._told is not None and abs(self._now() - self._told[1]) > SILENT

    async def _catch_up(self, connection: AsyncConnection) -> bool:
        """Apply what can be applied without ending a call; return whether this node is level then."""
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
        """Remember what is known of a table, and return whether this node may open sealed values."""
        self._level = (table.head, table.chain(table.head)) if level(self._held(), table) else None
        if common(self._log, table) == table.head:
            self._log, self._since = reduced(self._log, table), table.head
        return self._level is not None

    # --- follow ------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Cut again what the own lines name, and follow the table, before anything is served; repeatable.

        What names a live call stays for the loop. Raises StorageError.
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
        """Decide whether this node must return; the first of all writes that it is a holder."""
        async with self._database.reading() as connection:
            table, now = await cut_table.read(connection), await cut_table.moment(connection)
        await self._read_log()  # again: the daemon may have applied and acknowledged a line since
        own = (table.acknowledged or {}).get(self.name)
        if not table.lines and not self._log:
            await self._stand(Standing(None, now))
            line = Line(self._new_id(), Kind.ADMIT, self.name)
            async with self._database.writing() as connection:
                if await cut_table.newest(connection) == cut_table.START:
                    await cut_table.append(connection, line, self.chain, self.customer)
        newer = own is not None and self.chain.genuine(own) and own.n > max(path(self._log), default=0)
        old = self._standing.at is None or abs(now - self._standing.at) > SILENT
        if self._standing.returning is None and (newer or old):
            await self._stand(Standing(""))

    async def _stand(self, standing: Standing) -> None:
        await asyncio.to_thread(self._file.write, standing)
        self._standing = standing
        self._level = None

    async def turn(self) -> bool:
        """Do everything that is to be done now, to the acknowledgement; raises StorageError.

        Return whether anything has changed since the last time.
        """
        self.wanted.clear()
        if not self._begun:
            await self.begin()
        with self._unguarded():
            if self.gone or await self._at_rest():
                return False
            try:
                await self._turn()
            except BaseException:
                self._rest = None
                raise
        return True

    async def _turn(self) -> None:
        if self._silent() and self._standing.returning is None:
            await self._stand(Standing(""))
        table = await self._follow()
        if self._level is not None:
            await self._remove(table)
        if may_overwrite(self._held(), table, self.chain):
            await asyncio.to_thread(self._keys.overwrite)
            self.gone, self._level = True, None

    async def depart(self) -> bool:
        """Do what a node still owes that may not serve any more: apply, and overwrite its keys if it was retired.

        Return whether they are overwritten. For a node that the registry refuses; repeatable. Raises StorageError.
        """
        await self.begin()
        if any(each.line.kind is Kind.RETIRE and each.line.node == self.name for each in self._log):
            await self.turn()
        return self.gone

    def rests(self, found: Rest) -> bool:
        """Say whether nothing is to be done, if this is what the tables say."""
        return self._begun and found == self._rest and self._level == found[0] and not (self._dropping or self._due())

    async def _at_rest(self) -> bool:
        """Look once whether anything has changed."""
        async with self._database.reading() as connection:
            found = await cut_table.at_rest(connection)
        if self.rests(found):
            return True
        self._rest = found if found[1][0] >= 0 else None
        return False

    async def _follow(self) -> Table:
        """Take step after step until everything is acknowledged; return the table as it then was."""
        while True:
            async with self._database.reading() as connection, self._following:
                table = await self._read(connection)
            step = next_step(self._held(), table, self.chain)
            match step:
                case Apply(line):
                    for call in await asyncio.to_thread(self._local.live, line, self.customer):
                        await self.stop_live(call)
                    async with self._following:
                        await self._apply(line)
                case BringBack(line):
                    await self._append(line)
                case SayReturn(None):
                    await self._stand(Standing(self._new_id()))
                case SayReturn(str(id)):
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
        """Read the table, and what another process of this node has applied; both whole after a fail-over."""
        await self._read_log()
        table = await cut_table.read(connection, self._since)
        if self._since and common(self._log, table) < self._since:
            self._since = 0
            self._log, self._offset = await asyncio.to_thread(self._ledger.followed)
            table = await cut_table.read(connection)
        return table

    async def _read_log(self) -> None:
        """Take what this or another process of this node has applied since the last time."""
        more, self._offset = await asyncio.to_thread(self._ledger.followed, self._offset)
        self._log = (*self._log, *more)

    def _held(self) -> Held:
        return Held(self.name, self._log, self._standing.returning)

    async def _apply(self, line: Numbered) -> None:
        """Cut what a line names; under the lock, so that two tasks do not follow one line each."""
        self._level = None
        there = path(self._log).get(line.n)
        if there is not None and there.chain == line.chain:
            return  # by another task meanwhile
        try:
            cut = await asyncio.to_thread(self._keys.follow, line)
        except BaseException:
            self._begun = False  # the line may be in the log and not be cut
            raise
        await self._read_log()
        self._dropping.append(cut)

    async def _drop(self) -> None:
        """Let go of everything that this node has of what was cut; wait for its uploads."""
        while self._dropping:
            some = list(self._dropping)
            await asyncio.to_thread(self._local.drop, some)
            del self._dropping[: len(some)]

    async def _acknowledge(self, step: Acknowledge, table: Table) -> bool:
        """Say what was cut; return False if the table has changed meanwhile."""
        place = (step.n, step.chain)
        given = self.chain.acknowledge(self.name, *place, await self._tree_mac())
        if given != (table.acknowledged or {}).get(self.name) or self._told is None or self._due():
            async with self._database.writing() as connection:
                if not await cut_table.acknowledge(connection, given):
                    return False
            self._told = place, self._now()
        if step.returned or (self._standing.returning is None and self._old_note()):
            async with self._database.reading() as connection:
                at = await cut_table.moment(connection)
            await self._stand(Standing(None, at))
            self._noted = self._now()
        return True

    def _due(self) -> bool:
        return self._told is None or abs(self._now() - self._told[1]) > RENEW

    def _old_note(self) -> bool:
        return self._noted is None or abs(self._now() - self._noted) > NOTED

    async def _tree_mac(self) -> bytes:
        """Return the MAC of the key tree, which is made once for each cut."""
        generation = self._keys.generation
        if self._tree[0] != generation:
            self._tree = generation, await asyncio.to_thread(lambda: self.chain.tree(self._keys.state()))
        return self._tree[1]

    # --- remove ------------------------------------------------------------------------------------------------------

    async def _remove(self, table: Table) -> None:
        """Remove rows and objects of what was cut: once after it was applied, and once more after all have."""
        async with self._database.reading() as connection:
            found = await cut_table.unremoved(connection)
        mine = common(self._log, table)
        for each, stage in found:
            if each.n > mine or table.head < each.n:
                continue
            cut, done = entry(each.line, self.customer), stage
            if stage < APPLIED and (each.line.id in self._filed or abs(self._now() - cut.at) > OTHERS):
                await self._local.remove(cut)
                done = APPLIED
            if done >= APPLIED and acknowledged(table, each.n, self.chain):
                await self._local.remove_objects(cut)
                done = BY_ALL
            if done > stage:
                async with self._database.writing() as connection:
                    await cut_table.removed(connection, [each.line], done)
            if done == BY_ALL:
                self._filed.discard(each.line.id)
        self.torn = not missing_holders(table, mine, self.chain) and not acknowledged(table, mine, self.chain)

    async def spread(self, connection: AsyncConnection, erasure: str, requested_at: int) -> Spread:
        """Say how far an erasure has come, as a transaction sees it; `requested_at` in microseconds."""
        n, _ = await cut_table.newest(connection)
        table = await cut_table.read(connection, n)
        lines = await cut_table.of_erasure(connection, erasure)
        behind = {name for n, _ in lines for name in missing_holders(table, n, self.chain)}
        behind |= await cut_table.unindexed(connection, requested_at)
        done = all(acknowledged(table, n, self.chain) and stage == BY_ALL for n, stage in lines)
        there = table.holders
        ever = {each.line.node for each in table.lines if each.line.kind is Kind.ADMIT}
        away = await cut_table.away(connection, behind)
        return Spread(done and not behind, tuple(sorted(behind)), bool(away), {name: name in there for name in ever})

    async def away(self) -> dict[str, float | None]:
        """Return the other holders that were not there lately, and for how many seconds, None if that is unknown."""
        table = await self.table()
        others = table.holders - {self.name}
        with self._unguarded():
            async with self._database.reading() as connection:
                found = await cut_table.away(connection, others)
                return {name: await cut_table.silent_for(connection, name) for name in found}

    async def day_is_settled(self, connection: AsyncConnection, day: int) -> bool:
        """Say whether every node, retired ones too, has indexed all calls of a day (since 1970-01-01)."""
        return not await cut_table.unindexed(connection, (day + 1) * DAY_MICROS, retired=True)

    # --- cut ---------------------------------------------------------------------------------------------------------

    async def file(self, connection: AsyncConnection, text: str) -> None:
        """Write a line that every holder cuts, in a transaction of somebody else that `guard` has let through."""
        line = Line(self._new_id(), Kind.CUT, text=text)
        await cut_table.append(connection, line, self.chain, self.customer)
        self._filed.add(line.id)

    # --- holders come and go -----------------------------------------------------------------------------------------

    async def table(self) -> Table:
        """Return the lines of the holders, and who has acknowledged what."""
        with self._unguarded():
            async with self._database.reading() as connection:
                n, _ = await cut_table.newest(connection)
                return await cut_table.read(connection, n)

    async def others(self) -> frozenset[str]:
        """Return the other nodes that hold the keys, by name."""
        return (await self.table()).holders - {self.name}

    async def returning(self) -> tuple[str, ...]:
        """Return the nodes whose return is not known to all yet, by name."""
        table = await self.table()
        there = table.holders
        said = {each.line.node: each.n for each in table.lines if each.line.kind is Kind.RETURN}
        return tuple(
            sorted(name for name, n in said.items() if name in there and missing_holders(table, n, self.chain))
        )

    async def admit(self, name: str, also: Also = nothing_more) -> None:
        """Write that another node is a holder from now on; repeatable.

        Raises StorageError if it was retired, CutsBehind, and what `also` raises.
        """
        async with self._database.writing() as connection:
            await also(connection)
            table = await cut_table.read(connection, (await cut_table.newest(connection))[0])
            if name not in table.holders:
                if table.at(Kind.RETIRE, name):
                    raise StorageError(f"node {name} was retired", "give the new one another name")
                await cut_table.append(connection, Line(self._new_id(), Kind.ADMIT, name), self.chain, self.customer)
        await self.applied()

    async def ready_for(self, name: str) -> tuple[str, ...]:
        """Return the nodes that do not know yet that another was admitted, by name; it may have the keys if none."""
        table = await self.table()
        if may_hand_over(table, name, self.chain):
            return ()
        left = [each for n in table.at(Kind.ADMIT, name)[-1:] for each in missing_holders(table, n, self.chain)]
        return tuple(each for each in left if each != name) or (self.name,)

    async def retire(self, name: str, also: Also = nothing_more) -> None:
        """Write that another node is no holder any more; repeatable.

        Raises StorageError if it is this one or was there lately, CutsBehind, and what `also` raises.
        """
        if name == self.name:
            raise StorageError("a node cannot retire itself", "run the command on a node that stays")
        async with self._database.writing() as connection:
            table = await cut_table.read(connection, (await cut_table.newest(connection))[0])
            if name in table.holders:
                silent = await cut_table.silent_for(connection, name)
                if silent is not None and silent < RETIRED_AFTER.total_seconds():
                    said = f"node {name} was there {silent / 3600:.1f} hours ago"
                    raise StorageError(said, "stop its recorder, or wait until it was silent for two days")
                await cut_table.append(connection, Line(self._new_id(), Kind.RETIRE, name), self.chain, self.customer)
            await also(connection)
        await self.applied()

    def _new_id(self) -> str:
        return self._random(16).hex()

    @contextmanager
    def _unguarded(self) -> Iterator[None]:
        token = _OWN.set(True)
        try:
            yield
        finally:
            _OWN.reset(token)
