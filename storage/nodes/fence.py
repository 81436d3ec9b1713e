"""The fence, which keeps a node that lost its row from writing, and detects a database that lost commits.

Each writing transaction first updates the row of its node, which must still have the epoch that this process took; the
row stays locked until the transaction ends. A retirement, or another machine that takes the row, therefore waits for
the transaction. After that this process can write nothing more, even if it was suspended in between.

The same statement counts the transactions of the node (`seq`), and the number is on the node's disk before the commit.
If the number in the database is smaller than that of the last commit, the database is older: a standby that replaced
its primary before it had received everything, or a backup. After a crash, or after a commit whose answer was lost, the
database may be one transaction behind the disk.

The file `customers/NAME/node.seq` has the count in 20 digits, then the number and the name of the node, which show that
it was a node of this database. The transactions of all processes of a node run one after the other, so only one process
writes the file at a time.
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
"""Message of DatabaseOlder; the database is then opened again, and gets back what this node still has."""


class Fence:
    """The epoch of one process of a node in one database, and the numbers of its transactions."""

    def __init__(self, database: Database, me: Identity, folder: Path, *, alone: bool) -> None:
        """`alone`: only this process may write as the node, as for the daemon; a command writes beside the daemon."""
        self._database = database
        self._me = me
        self._path = folder / FILE_NAME
        self._alone = alone
        self._epoch = 0
        self._count: sa.Executable | None = None  # the statement that counts a transaction; None until `begin`
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
        """Count a writing transaction; raise DatabaseAway, DatabaseOlder or DiskFailed if it may not continue."""
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
        """Raise DatabaseOlder if this node's row, just renewed, lacks commits or the start of this process."""
        self._compare(seq if epoch == self._epoch else -1)

    async def settle(self, connection: AsyncConnection) -> None:
        """Set the number in the row to that of the last commit, once the database has everything back."""
        newest = sa.func.greatest(nodes.c.seq, self._committed)
        await connection.execute(nodes.update().where(self._mine()).values(seq=newest))

    def _compare(self, seq: int) -> None:
        if seq < self._committed:
            raise DatabaseOlder(OLDER, "it is opened again and gets back what this node has")

    def _mine(self) -> sa.ColumnElement[bool]:
        mine, here = nodes.c.epoch == self._epoch, nodes.c.instance == self._me.instance
        # a database that lost a start may give the same epoch to another machine
        ours = sa.and_(mine, here) if self._alone else sa.or_(mine, sa.and_(here, nodes.c.instance != ""))
        return sa.and_(nodes.c.node == self._me.number, nodes.c.state != NodeState.RETIRED, ours)

    def _read(self) -> tuple[int, bool]:
        """Return the number in the file, and whether the file belongs to this node; (0, False) if it does not."""
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
