"""What people are told of the nodes that recorded calls: their names, and whether they are there."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from storage.database.database import Database
from storage.database.database_clock import MICROS, NOW
from storage.database.schema import nodes
from storage.nodes.rows import STALE_SECONDS, NodeState

KNOWN_SECONDS = 2.0
"""What was read of the nodes is shown for so long, so that a page of calls asks once."""

_AGE = sa.type_coerce(NOW - nodes.c.seen, sa.BigInteger).label("age")


_THERE = (NodeState.ACTIVE, NodeState.DRAINING)


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
        return self.state in _THERE

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
            asked = sa.select(nodes.c.node, nodes.c.label, nodes.c.state, _AGE)
            async with self._database.reading() as connection:
                found = (await connection.execute(asked)).all()
            self._known = self._clock(), {each.node: _present(*each) for each in found}
        return self._known[1]

    async def of(self, number: int) -> Present | None:
        """Return one node; None if nothing is known of it, as of the one that recorded before there were several."""
        return (await self.all()).get(number)


def _present(number: int, name: str, state: str, age: int) -> Present:
    known = NodeState(state)
    away = known in _THERE and abs(age) > STALE_SECONDS * MICROS
    return Present(number, name, NodeState.AWAY if away else known)
