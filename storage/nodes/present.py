"""What people are told of the nodes that recorded calls: their names, and whether they are there."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from storage.database.database import Database
from storage.nodes.rows import NodeState, served_nodes_of

KNOWN_SECONDS = 2.0
"""What was read of the nodes is shown for so long, so that a page of calls asks once."""


@dataclass(frozen=True, slots=True)
class Present:
    """A node that shares the database."""

    number: int
    """Its number."""
    name: str
    """Its name."""
    state: NodeState
    """Its state; away if it was not there lately."""

    @property
    def there(self) -> bool:
        """Say whether it runs, so that what only it has can be fetched there."""
        return self.state in (NodeState.ACTIVE, NodeState.DRAINING)

    @property
    def retired(self) -> bool:
        """Say whether it will not come back."""
        return self.state is NodeState.RETIRED


class Nodes:
    """The nodes of one customer's database, as they were a moment ago."""

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
        """Return one node; None if nothing is known of it, as of the one that recorded before there were several."""
        return (await self.all()).get(number)
