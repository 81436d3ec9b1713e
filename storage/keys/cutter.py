"""The port that every cut goes through while a customer is in use: of this node's keys, or of all who hold them.

A cut that is asked for in a writing transaction of the customer's database belongs to it. One node cuts at once, so the
keys are gone before the transaction commits. Where several nodes hold the keys, the transaction writes what all of them
cut, and this node has cut it when the transaction is over (storage.holders). A customer who is removed is cut without
this port, because the cut log goes too.
"""

import asyncio
from typing import Protocol

from storage.keys.cut_log import Entry
from storage.keys.sealing import DeletableKeys


class Cutter(Protocol):
    """Forgets leaves for good."""

    async def cut(self, *leaves: int) -> None:
        """Forget leaves, durably, with a line of the cut log; raises NoSpace, DiskFailed, DatabaseAway."""
        ...

    async def forget(self, entry: Entry) -> None:
        """Write a line of the cut log, then forget its leaves and days, both durably; raises as `cut` does."""
        ...


class OwnKeys:
    """Cuts the keys that this node alone holds."""

    def __init__(self, keys: DeletableKeys) -> None:
        self._keys = keys

    async def cut(self, *leaves: int) -> None:
        """Cut at once."""
        await asyncio.to_thread(self._keys.cut, *leaves)

    async def forget(self, entry: Entry) -> None:
        """Cut at once."""
        await asyncio.to_thread(self._keys.forget, entry)
