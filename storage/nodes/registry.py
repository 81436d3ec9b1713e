"""Which nodes serve the database of a customer: the table `nodes`, and who may take a row of it.

    registry = Registry(database, me, folder, serves=True)
    await registry.check(connection)    before anything is changed: may this node serve the database?
    await registry.begin()              at a start: the row is this process's from now on; raises OtherNode
    await registry.settle()             the database has everything of which this node knows, and may be served
    await registry.renew()              every ten seconds; returns the state of the node
    await registry.give_up()            at a stop for good: another instance may take the row at once

All rows, for lists and for whoever waits for every node: storage.nodes.rows. Admission, draining and retirement:
storage.nodes.membership.

Recording never waits for this: without a row the database is away, and the index catches up.

- Number 0 is *the only node*. Two would erase, sweep and repair each other's calls, so nobody else may be there: no
  fresh row of another instance, and no numbered node that was not retired.
- Numbers 1 to 255 are *several nodes*. Each has a row of its own, which it gets when it is admitted; the first node
  of an empty database needs no admission. A node without a row does not serve, nor one that was retired.
- An *instance* is one boot of one machine (recorder.persist.instance). The next process of the same installation has
  the same one, after a crash, reload or upgrade too, and takes over at once. A copy of the disk has another.
- After a restart of the machine, or on another machine where a backup was restored, the row of the old instance must
  first be STALE_SECONDS old; a daemon that stops for good gives it up. A database that was away itself leaves its node
  as long to come back before another one may take its row.
- Each start of several nodes raises the *epoch* of its row, and so does its retirement; a transaction at another epoch
  does not write (storage.nodes.fence).
- A database that was written with other keys is refused however old its rows are: its rows could not be opened, and its
  leaves would be given again.

A file of SQLite is used by one node, which `data_dir/.lock` takes care of; it has no row.
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
        """`folder`: of the customer, where several nodes note what they have written.

        `serves`: this process takes the row, as the daemon does; a command writes beside it.
        """
        self._database = database
        self._me = me
        self._shared = database.dialect == "postgresql"
        self._serves = serves
        self._fence = _fence(database, me, folder, alone=serves) if me.several and self._shared else None
        #: Whether the database was found to lack what this node has written; until `settle`.
        self.older = False
        #: State of this node when it was last looked at.
        self.state = NodeState.ACTIVE

    async def check(self, connection: AsyncConnection) -> None:
        """Raise OtherNode if this node may not serve a database, which may be empty or of an older schema."""
        if self._shared and await connection.run_sync(lambda plain: sa.inspect(plain).has_table(nodes.name)):
            judge(self._me, await nodes_of(connection), known=await self._known())

    async def begin(self) -> None:
        """Take the row of this node, and calls that it recorded under another number; a command only looks at it.

        Raises OtherNode; everything is then as it was.
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
        """Say that this node is still there, and return its state.

        Raises OtherNode if the row is another one's meanwhile, DatabaseOlder if the database lost what was committed.
        """
        if not self._shared:
            return self.state
        found = await self._say(NOW)
        if found is None:  # an older database may have been restored
            await self._take()
            if self.older:
                raise DatabaseOlder("the database has no row of this node any more", "it is opened again")
            return self.state
        self.state = NodeState(found.state)
        if self._fence is not None:
            self._fence.compare(found.epoch, found.seq)
        return self.state

    def compare(self, epoch: int, seq: int) -> None:
        """Raise DatabaseOlder if the row of this node says that the database lacks what this node has committed."""
        if self._fence is not None:
            self._fence.compare(epoch, seq)

    async def give_up(self) -> None:
        """Let another instance take the row at once."""
        if self._shared and self._serves:
            await self._say(LEFT)

    async def _take(self) -> None:
        with self._database.opening():  # its guards would see the row of before
            async with self._database.writing() as connection:
                await self._taken(connection)

    async def _taken(self, connection: AsyncConnection) -> None:
        rows = await nodes_of(connection, lock=True, since=UP_SINCE) if self._shared else []
        judge(self._me, rows, known=await self._known())
        if not self._me.several or not any(row.number for row in rows):  # otherwise they are those of other nodes
            theirs = sa.and_(calls.c.state == STATE_CODES[CallState.RECORDING], calls.c.node != self._me.number)
            await connection.execute(calls.update().where(theirs).values(node=self._me.number))
        if self._shared:
            row = await self._written(connection, _own(self._me, rows))
            self.state = row.state
            if self._fence is not None:
                self.older = await self._fence.begin(row) or self.older

    async def _written(self, connection: AsyncConnection, before: NodeRow | None) -> NodeRow:
        """Write the row of this node, and remove those of others that nobody needs any more; return it."""
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
        """Write when this node was there; return its row, None if the row is not its own."""
        mine = sa.and_(nodes.c.node == self._me.number, nodes.c.instance == self._me.instance)
        if self._me.several:
            mine = sa.and_(mine, nodes.c.state != NodeState.RETIRED)
        change = nodes.update().where(mine).values(seen=seen).returning(nodes.c.state, nodes.c.epoch, nodes.c.seq)
        async with self._database.beside() as connection:
            # nothing is lost with this commit, and a node may have a thousand customers
            await connection.execute(sa.select(sa.func.set_config("synchronous_commit", "off", True)))
            return (await connection.execute(change)).first()

    async def _known(self) -> bool:
        """Say whether this node was a node of this database before, as its own disk says."""
        return self._fence is not None and await self._fence.known()


def judge(me: Identity, rows: Sequence[NodeRow], *, known: bool = False) -> None:
    """Raise OtherNode if a node may not serve a database with these rows; `known`: it was a node of it before."""
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
    """Say whether a row is of this node: of this boot of its machine, or of its name and not fresh."""
    return row.instance == me.instance or (row.name == me.name and not row.fresh)


def _fence(database: Database, me: Identity, folder: Path, *, alone: bool) -> "Fence":
    from storage.nodes.fence import Fence  # the only node loads nothing of several

    return Fence(database, me, folder, alone=alone)
