"""The nodes that recorded calls, as web pages and the API show them: their names, and whether they run."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from storage.database.database import Database
from storage.nodes.rows import NodeState, served_nodes_of

KNOWN_SECONDS = 2.0
"""Seconds after which rows of nodes are read again, so that a page with many calls reads them once."""


@dataclass(frozen=True, slots=True)
class Present:
    """A node that shares the database."""

    number: int
    """Its number."""
    name: str
    """Its name."""
    state: NodeState
    """Its state, which is AWAY if it has not renewed its row lately."""

    @property
    def there(self) -> bool:
        """Return whether the node runs, so that files that only it has can be fetched there."""
        return self.state in (NodeState.ACTIVE, NodeState.DRAINING)

    @property
    def retired(self) -> bool:
        """Return whether the node was retired and will not come back."""
        return self.state is NodeState.RETIRED


class RecordedBy(TypedDict):
    """The node that recorded a call, as the call's document shows it."""

    node: str | None
    """Its name, None if it is no longer known."""
    node_state: str | None
    """Its state."""


def recorded_by(number: int, nodes: Mapping[int, Present]) -> RecordedBy:
    """Return the one of these nodes that has this number."""
    node = nodes.get(number)
    return {"node": node.name if node else None, "node_state": node.state.value if node else None}


class Nodes:
    """The nodes of one customer's database, as they were at most KNOWN_SECONDS ago."""

    def __init__(self, database: Database, node: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: tuple[float, Mapping[int, Present]] | None = None
        #: Number of this node.
        self.me = node

    async def all(self) -> Mapping[int, Present]:
        """Return all nodes by number."""
        if self._known is None or self._clock() - self._known[0] > KNOWN_SECONDS:
            async with self._database.reading() as connection:
                rows = await served_nodes_of(connection)
            self._known = self._clock(), {row.number: Present(row.number, row.name, row.shown) for row in rows}
        return self._known[1]

    async def of(self, number: int) -> Present | None:
        """Return the node with this number; None if unknown, such as 0, the only node before there were several."""
        return (await self.all()).get(number)
