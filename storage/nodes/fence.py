"""Keep a node that lost its row from writing, and notice a database that lost commits.

Each writing transaction first updates the row of its node, which must still have the epoch that this process took; the
row stays locked until the transaction ends. So a retirement, or another machine that takes the row, waits for the
transaction. After that this process can write nothing more, even if it was suspended in between.

The same statement counts the transactions of the node (`seq`), and the number is on the disk of the node before the
commit. A database whose number is smaller than the last one that committed is an older one: a standby that replaced its
primary before it had everything, or a backup. After a crash, or a commit whose answer was lost, the database may be one
behind the disk.

The file is `customers/NAME/node.seq`: the count in 20 digits, then the number and the name of the node, which show that
it was a node of this database. Transactions of all processes of a node come one after the other, so one process writes
the file at a time.
"""

import asyncio
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.database import Database, DatabaseAway, DatabaseOlder, once_committed
from storage.database.schema import nodes
from storage.files.durable_files import Disk
from storage.nodes.identity import Identity
from storage.nodes.rows import NodeRow, NodeState

FILE_NAME = "node.seq"
DIGITS = 20

OLDER = "the database lost what it had committed"
"""The database is opened again, and gets back what this node still has."""


class Fence:
    """The epoch of one process of a node in one database, and the numbers of its transactions."""

    def __init__(self, database: Database, me: Identity, folder: Path, *, alone: bool) -> None:
        """`alone`: only this process may write as the node, like the daemon; a command writes beside the daemon."""
        self._database = database
        self._me = me
        self._path = folder / FILE_NAME
        self._alone = alone
        self._epoch = 0
        self._count: sa.Executable | None = None  # counts a transaction; None until `begin`
        self._committed = 0
        self._asked = False

    async def known(self) -> bool:
        """Return whether the node's own disk shows that it was a node of this database before."""
        return (await asyncio.to_thread(self._read))[1]

    async def begin(self, row: NodeRow) -> bool:
        """Let transactions of this process write at the epoch of a row; return whether the row lacks commits.

        Call it in the transaction that takes the row, or after one that has read it.
        """
        noted, known = await asyncio.to_thread(self._read)
        self._committed = max(self._committed, noted - 1)
        self._epoch = row.epoch
        change = nodes.update().where(self._mine()).values(seq=nodes.c.seq + 1)
        self._count = change.returning(nodes.c.seq)
        if not known:
            await asyncio.to_thread(self._create, max(row.seq, noted))
        if not self._asked:
            self._database.guard(self.guard)
            self._asked = True
        return row.seq < self._committed

    async def guard(self, connection: AsyncConnection, writes: bool) -> None:
        """Count a writing transaction; raise DatabaseAway, DatabaseOlder or DiskFailed if it may not go on."""
        if not writes or self._count is None:
            return
        number = await connection.scalar(self._count)
        if number is None:
            raise DatabaseAway(
                f"{self._me} does not serve the database of customer {self._me.customer} any more",
                "recorder node list shows which node does",
            )
        self._compare(number - 1)
        await asyncio.to_thread(Disk().overwrite, self._path, _digits(number))

        def done() -> None:
            self._committed = max(self._committed, number)

        once_committed(done)

    def compare(self, epoch: int, seq: int) -> None:
        """Raise DatabaseOlder if the row of this node, just renewed, lacks commits, or the start of this process."""
        self._compare(seq if epoch == self._epoch else -1)

    async def settle(self, connection: AsyncConnection) -> None:
        """Set the number in the row to the last one that committed, once the database has everything back."""
        newest = sa.func.greatest(nodes.c.seq, self._committed)
        await connection.execute(nodes.update().where(self._mine()).values(seq=newest))

    def _compare(self, seq: int) -> None:
        if seq < self._committed:
            raise DatabaseOlder(OLDER, "it is opened again and gets back what this node has")

    def _mine(self) -> sa.ColumnElement[bool]:
        mine, here = nodes.c.epoch == self._epoch, nodes.c.instance == self._me.instance
        # a database that lost a start may give its epoch again, to another machine
        ours = sa.and_(mine, here) if self._alone else sa.or_(mine, sa.and_(here, nodes.c.instance != ""))
        return sa.and_(nodes.c.node == self._me.number, nodes.c.state != NodeState.RETIRED, ours)

    def _read(self) -> tuple[int, bool]:
        """Return the number in the file, and whether the file is of this node; (0, False) if not."""
        data = Disk().read(self._path) or b""
        number, node = data[:DIGITS], data[DIGITS:]
        if node != self._node() or not number.isdigit():
            return 0, False
        return int(number), True

    def _create(self, number: int) -> None:
        Disk().replace(self._path, _digits(number) + self._node())

    def _node(self) -> bytes:
        return f" {self._me.number} {self._me.name}\n".encode()


def _digits(number: int) -> bytes:
    return b"%0*d" % (DIGITS, number)
