"""Admission, draining and retirement of nodes: changes to their rows of the table `nodes`, in a writing transaction.

The lines of the table `cuts` determine which nodes hold keys; the commands that admit or retire a node write both.
"""

from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.database_clock import NOW
from storage.database.schema import nodes
from storage.errors import OtherNode
from storage.nodes.rows import LEFT, NodeRow, NodeState, nodes_of


async def admit(connection: AsyncConnection, name: str, number: int) -> None:
    """Insert the row that lets a node start; repeatable. Raises OtherNode if number or name belong to another node.

    The node writes the fingerprint of its key tree when it starts.
    """
    rows = await nodes_of(connection)
    for row in rows:
        if row.name == name and row.number == number and row.state is not NodeState.RETIRED:
            return
        if row.name == name:
            what = "was retired" if row.state is NodeState.RETIRED else f"has number {row.number} already"
            raise OtherNode(f"node {name} {what}", "give it another name", row.name)
        if row.number == number and not row.free:
            hint = "give it another [node] number; that of a retired node is free after two days"
            raise OtherNode(f"number {number} is that of node {row.name}", hint, row.name)
    epoch = next((row.epoch + 1 for row in rows if row.number == number), 0)
    await connection.execute(nodes.delete().where(nodes.c.node == number))
    pending = {"label": name, "tree": "", "instance": "", "seen": LEFT, "state": NodeState.PENDING.value}
    await connection.execute(nodes.insert().values(node=number, **pending, epoch=epoch))


async def retire(connection: AsyncConnection, name: str) -> None:
    """Prevent all further writing by a node; repeatable. Waits until a transaction that the node has begun ends."""
    mine = sa.and_(nodes.c.label == name, nodes.c.state != NodeState.RETIRED)
    values = {"state": NodeState.RETIRED.value, "epoch": nodes.c.epoch + 1, "seen": NOW}
    await connection.execute(nodes.update().where(mine).values(**values))


async def drain(connection: AsyncConnection, name: str, *, undo: bool = False) -> NodeRow | None:
    """Make a node refuse new calls, or with `undo` take them again; return its row, None if the node is unknown."""
    row = next((each for each in await nodes_of(connection) if each.name == name), None)
    wanted, others = NodeState.DRAINING, (NodeState.ACTIVE,)
    if undo:
        wanted, others = NodeState.ACTIVE, (NodeState.DRAINING,)
    if row is None or row.state not in others:
        return row
    await connection.execute(nodes.update().where(nodes.c.node == row.number).values(state=wanted.value))
    return replace(row, state=wanted)
