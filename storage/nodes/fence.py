"""What keeps a node that lost its row from writing, and notices a database that lost what was committed.

Each writing transaction begins with the row of its node: it must be there at the epoch that this process took, and is
locked until the end. So a retirement, or another machine that takes the row, waits for it; after that nothing of this
process is written any more, even if it stood still in between.

The same statement counts the transactions of the node (`seq`), and the number is on the disk of the node before the
commit. A database with a smaller one than has committed is an older one: a standby that took the place of its primary
before it had everything, or a backup. A crash leaves the database one behind at most, and so does a commit without an
answer.

The file is `customers/NAME/node.seq`: the number in 20 digits, then number and name of the node, which say that it was
a node of this database. Transactions of all processes of a node follow each other, so one writes it at a time.
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
"""It is opened again, and gets it back as far as this node has it."""


class Fence:
    """The epoch of one process of a node in one database, and the numbers of its transactions."""

    def __init__(self, database: Database, me: Identity, folder: Path, *, alone: bool) -> None:
        """`alone`: no other process of this machine may take the row, as for the daemon; a command follows it."""
        self._database = database
        self._me = me
        self._path = folder / FILE_NAME
        self._alone = alone
        self._epoch = 0
        self._count: sa.Executable | None = None  # made once; None: there was no row yet
        self._committed = 0
        self._asked = False

    async def known(self) -> bool:
        """Say whether this node was a node of this database before, as its own disk says."""
        return (await asyncio.to_thread(self._read))[1]

    async def begin(self, row: NodeRow) -> bool:
        """Let transactions of this process write at the epoch of a row; say whether the row lacks what has committed.

        In the transaction that takes the row, or after one that has read it.
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
        """Begin a writing transaction; raises DatabaseAway, DatabaseOlder, DiskFailed if it may not go on."""
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
        """Raise DatabaseOlder if the row of this node, just renewed, lacks what has committed, its start included."""
        self._compare(seq if epoch == self._epoch else -1)

    async def settle(self, connection: AsyncConnection) -> None:
        """Let the row have what has committed, once the database has been given it back."""
        newest = sa.func.greatest(nodes.c.seq, self._committed)
        await connection.execute(nodes.update().where(self._mine()).values(seq=newest))

    def _compare(self, seq: int) -> None:
        if seq < self._committed:
            raise DatabaseOlder(OLDER, "it is opened again and gets it back")

    def _mine(self) -> sa.ColumnElement[bool]:
        mine, here = nodes.c.epoch == self._epoch, nodes.c.instance == self._me.instance
        # a database that lost a start may give its epoch again, to another machine
        ours = sa.and_(mine, here) if self._alone else sa.or_(mine, sa.and_(here, nodes.c.instance != ""))
        return sa.and_(nodes.c.node == self._me.number, nodes.c.state != NodeState.RETIRED, ours)

    def _read(self) -> tuple[int, bool]:
        """Return the number of the newest transaction of which a file knows, and whether it is this node's."""
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
