"""A map of limited size, for what may be forgotten: the entry that was written or touched longest ago goes first."""

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedMap(OrderedDict[K, V]):
    """Entries in the order in which they were last written; `move_to_end` touches one."""

    def __init__(self, most: int) -> None:
        """Keep at most so many entries."""
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)
