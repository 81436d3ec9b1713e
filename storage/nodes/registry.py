"""The registry of the nodes that serve a customer's database: the table `nodes`, and who may take a row of it.

    registry = Registry(database, me, folder, serves=True)
    await registry.check(connection)    before anything is changed: raises OtherNode if this node may not serve
    await registry.begin()              at a start: takes the row for this process; raises OtherNode
    await registry.settle()             once the database has everything that this node has written
    await registry.renew()              every ten seconds; returns the state of the node
    await registry.give_up()            at a stop for good: another instance may take the row at once

storage.nodes.rows reads the rows of all nodes; storage.nodes.membership admits, drains and retires nodes.

Recording never waits for the registry: without a row the database counts as away, and the index catches up later.

- Number 0 is *the only node*. Two such nodes would erase, sweep and repair each other's calls, so the table may have no
  fresh row of another instance, and no numbered node that was not retired.
- Numbers 1 to 255 are *several nodes*. Each gets a row of its own when it is admitted; the first node of an empty
  database needs no admission. A node without a row does not serve, and a retired node does not either.
- An *instance* is one boot of one machine (recorder.persist.instance). The next process of the same installation is the
  same instance, also after a crash, reload or upgrade, and takes over at once. A copy of the disk is another instance.
- After a restart of the machine, or on another machine where a backup was restored, the row of the old instance must
  first be STALE_SECONDS old; a daemon that stops for good gives up its row. After an outage of the database itself, a
  node has the same time to come back before another node may take its row.
- Each start of one of several nodes raises the *epoch* of its row, and so does its retirement; a transaction at another
  epoch cannot write (storage.nodes.fence).
- A database that was written with other keys is refused, however old its rows are: its rows could not be opened, and
  leaf numbers would be used twice.

A SQLite file is used by one node, which `data_dir/.lock` ensures; it has no row.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls.call_row import STATE_CODES, CallState
from storage.database.database import Database, DatabaseOlder
from storage.database.database_clock import NOW
from storage.database.schema import calls, nodes
from storage.errors import OtherNode
from storage.nodes.identity import Identity
from storage.nodes.rows import LEFT, STALE_SECONDS, UP_SINCE, NodeRow, NodeState, nodes_of

if TYPE_CHECKING:
    from storage.nodes.fence import Fence


class Registry:
    """The row of this node in the database of one customer."""

    def __init__(self, database: Database, me: Identity, folder: Path, *, serves: bool) -> None:
        """`folder`: the customer's folder, where one of several nodes notes what it has written.

        `serves`: this process takes the row, as the daemon does; a command writes beside the daemon instead.
        """
        self._database = database
        self._me = me
        self._shared = database.dialect == "postgresql"
        self._serves = serves
        self._fence = _fence(database, me, folder, alone=serves) if me.several and self._shared else None
        #: Whether the database lacks something that this node has written; False after `settle`.
        self.older = False
        #: State of this node when its row was last read.
        self.state = NodeState.ACTIVE

    async def check(self, connection: AsyncConnection) -> None:
        """Raise OtherNode if this node may not serve the database, which may be empty or have an older schema."""
        if self._shared and await connection.run_sync(lambda plain: sa.inspect(plain).has_table(nodes.name)):
            judge(self._me, await nodes_of(connection), known=await self._known())

    async def begin(self) -> None:
        """Take the row of this node, and the calls that it recorded under another number; a command only reads the row.

        Raises OtherNode without changing anything.
        """
        if self._serves:
            await self._take()
        elif self._fence is not None:
            async with self._database.reading() as connection:
                rows = await nodes_of(connection)
            judge(self._me, rows, known=await self._known())
            if (own := _own(self._me, rows)) is not None:
                await self._fence.begin(own)

    async def settle(self) -> None:
        """Note that the database has everything that this node has written."""
        if self._serves and self._fence is not None:
            async with self._database.writing() as connection:
                await self._fence.settle(connection)
        self.older = False

    async def renew(self) -> NodeState:
        """Renew the row of this node, and return the node's state.

        Raises OtherNode if another node has taken the row meanwhile, DatabaseOlder if the database lost commits.
        """
        if not self._shared:
            return self.state
        found = await self._say(NOW)
        if found is None:  # somebody may have restored an older database
            await self._take()
            if self.older:
                raise DatabaseOlder("the database no longer has a row of this node", "it is opened again")
            return self.state
        self.state = NodeState(found.state)
        if self._fence is not None:
            self._fence.compare(found.epoch, found.seq)
        return self.state

    def compare(self, epoch: int, seq: int) -> None:
        """Raise DatabaseOlder if the row of this node shows that the database lacks what this node has committed."""
        if self._fence is not None:
            self._fence.compare(epoch, seq)

    async def give_up(self) -> None:
        """Give up the row, so that another instance can take it at once."""
        if self._shared and self._serves:
            await self._say(LEFT)

    async def _take(self) -> None:
        with self._database.opening():  # bypasses the guards, which would see the old row
            async with self._database.writing() as connection:
                await self._taken(connection)

    async def _taken(self, connection: AsyncConnection) -> None:
        rows = await nodes_of(connection, lock=True, since=UP_SINCE) if self._shared else []
        judge(self._me, rows, known=await self._known())
        if not self._me.several or not any(row.number for row in rows):  # otherwise the calls belong to other nodes
            theirs = sa.and_(calls.c.state == STATE_CODES[CallState.RECORDING], calls.c.node != self._me.number)
            await connection.execute(calls.update().where(theirs).values(node=self._me.number))
        if self._shared:
            row = await self._written(connection, _own(self._me, rows))
            self.state = row.state
            if self._fence is not None:
                self.older = await self._fence.begin(row) or self.older

    async def _written(self, connection: AsyncConnection, before: NodeRow | None) -> NodeRow:
        """Write the row of this node and return it; delete rows of other nodes that are no longer needed."""
        gone = nodes.c.node == 0 if self._me.several else nodes.c.state != NodeState.RETIRED
        await connection.execute(nodes.delete().where(sa.or_(gone, nodes.c.node == self._me.number)))
        me, kept = self._me, before if before and self._me.several else None
        row = NodeRow(
            number=me.number, name=me.name, tree=me.tree, instance=me.instance,
            state=NodeState.DRAINING if kept and kept.state is NodeState.DRAINING else NodeState.ACTIVE,
            epoch=kept.epoch + 1 if kept else 1, indexed_until=kept.indexed_until if kept else 0,
            seq=kept.seq if kept else 0, seen=LEFT, age=0,
        )  # fmt: skip
        values = {
            "node": row.number, "label": row.name, "tree": row.tree, "instance": row.instance, "state": row.state.value,
            "epoch": row.epoch, "indexed_until": row.indexed_until, "seq": row.seq,
        }  # fmt: skip
        await connection.execute(nodes.insert().values(**values, seen=NOW))
        return row

    async def _say(self, seen: sa.ColumnElement[int] | int) -> Any:
        """Write the time at which this node was last seen; return its row, None if another instance has the row."""
        mine = sa.and_(nodes.c.node == self._me.number, nodes.c.instance == self._me.instance)
        if self._me.several:
            mine = sa.and_(mine, nodes.c.state != NodeState.RETIRED)
        change = nodes.update().where(mine).values(seen=seen).returning(nodes.c.state, nodes.c.epoch, nodes.c.seq)
        async with self._database.beside() as connection:
            # asynchronous, as losing this commit does no harm, and a node may have a thousand customers
            await connection.execute(sa.select(sa.func.set_config("synchronous_commit", "off", True)))
            return (await connection.execute(change)).first()

    async def _known(self) -> bool:
        """Return whether the node's own disk shows that it was a node of this database before."""
        return self._fence is not None and await self._fence.known()


def judge(me: Identity, rows: Sequence[NodeRow], *, known: bool = False) -> None:
    """Raise OtherNode if a node may not serve a database with these rows; `known`: it was a node of it earlier."""
    for row in rows:
        if row.tree and row.tree != me.tree and row.state is not NodeState.RETIRED:
            raise OtherNode(
                f"the database of customer {me.customer} was written with other keys, by {row}",
                "restore the keys of that installation, or name a database of its own in [storage] database",
                row.name,
            )
    if me.several:
        _judge_one_of_several(me, rows, known)
    else:
        _judge_the_only_one(me, rows)


def _judge_the_only_one(me: Identity, rows: Sequence[NodeRow]) -> None:
    for row in rows:
        if row.number == 0 and row.fresh and row.instance != me.instance:
            raise OtherNode(
                f"the database of customer {me.customer} is served by {row}, as the only one",
                f"stop that recorder, give both a [node] number, or name another database in [storage] database; "
                f"a node that is gone is forgotten after {STALE_SECONDS:.0f} seconds",
                row.name,
            )
        if row.number and row.state is not NodeState.RETIRED and not _same(me, row):
            raise OtherNode(
                f"the database of customer {me.customer} is shared by several nodes, one of them {row}",
                f"give this node its [node] number; before it can be the only one: recorder node retire {row.name}",
                row.name,
            )


def _judge_one_of_several(me: Identity, rows: Sequence[NodeRow], known: bool) -> None:
    for row in rows:
        if row.number == 0 and row.fresh and row.instance != me.instance:
            raise OtherNode(
                f"the database of customer {me.customer} is served by {row}, as the only one",
                "give that node a [node] number and restart it first",
                row.name,
            )
        if row.number not in (0, me.number) and row.name == me.name and row.state is not NodeState.RETIRED:
            raise OtherNode(
                f"{row} is in the database of customer {me.customer}, and this node has the same name",
                f"write number = {row.number} in [node] if it is this node, else another name",
                row.name,
            )
    own = _own(me, rows)
    if own is None:
        if not known and any(row.number for row in rows if row.state is not NodeState.RETIRED):
            others = next(row for row in rows if row.number and row.state is not NodeState.RETIRED)
            raise OtherNode(
                f"{me} is not admitted to the database of customer {me.customer}",
                f"on node {others.name}: recorder node admit {me.name}",
                others.name,
            )
    elif own.name != me.name:
        hint = "give this node another [node] number; never give a number to another node within two days"
        raise OtherNode(f"number {me.number} is that of node {own.name}", hint, own.name)
    elif own.state is NodeState.RETIRED:
        raise OtherNode(
            f"{me} was retired from the database of customer {me.customer}",
            "to use this machine again, give it another [node] name and number, and admit it",
            own.name,
        )
    elif own.instance != me.instance and own.fresh:
        raise OtherNode(
            f"another machine serves the database of customer {me.customer} as {own}",
            f"give this machine another name and number, or stop the other one; a node that is gone is forgotten after "
            f"{STALE_SECONDS:.0f} seconds",
            own.name,
        )


def _own(me: Identity, rows: Sequence[NodeRow]) -> NodeRow | None:
    return next((row for row in rows if row.number == me.number), None)


def _same(me: Identity, row: NodeRow) -> bool:
    """Return whether a row belongs to this node: it has this boot of the machine, or its name and is not fresh."""
    return row.instance == me.instance or (row.name == me.name and not row.fresh)


def _fence(database: Database, me: Identity, folder: Path, *, alone: bool) -> "Fence":
    from storage.nodes.fence import Fence  # imported only if there are several nodes

    return Fence(database, me, folder, alone=alone)
