"""The interface for cutting keys while a customer is in use, on this node alone or on all nodes that hold them.

A cut in a writing transaction of the customer's database is part of that transaction. A single node cuts at once, so
the keys are gone before the transaction commits. If several nodes hold the keys, the transaction writes a line that all
of them apply; this node has applied it when the transaction ends (storage.holders). The removal of a customer does not
use this interface, because it deletes the cut log too.
"""

import asyncio
from typing import Protocol

from storage.keys.cut_log import Entry
from storage.keys.sealing import DeletableKeys


class Cutter(Protocol):
    """Deletes the keys of leaves for good."""

    async def cut(self, *leaves: int) -> None:
        """Write leaves to the cut log, then cut them, both durably; raises NoSpace, DiskFailed, DatabaseAway."""
        ...

    async def forget(self, entry: Entry) -> None:
        """Write an entry to the cut log, then cut its leaves and days, both durably; raises as `cut` does."""
        ...


class OwnKeys:
    """Cutter of keys that only this node holds."""

    def __init__(self, keys: DeletableKeys) -> None:
        self._keys = keys

    async def cut(self, *leaves: int) -> None:
        """Cut leaves at once."""
        await asyncio.to_thread(self._keys.cut, *leaves)

    async def forget(self, entry: Entry) -> None:
        """Cut the leaves and days of an entry at once."""
        await asyncio.to_thread(self._keys.forget, entry)
