"""The counters of one stream in a third of a dict's memory: thousands of calls have two or more each; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recorder.wire import Counts


class Tally(Mapping[str, Any]):
    """What a worker counted of a stream, under the names of the contract (docs/api.md)."""

    __slots__ = ("duplicates", "foreign", "gap_ms", "late", "lost", "packets", "rejected")

    def __init__(self, counts: Counts) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(counts, name))

    def __getitem__(self, name: str) -> Any:
        if name in self.__slots__:
            return getattr(self, name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__slots__)

    def __len__(self) -> int:
        return len(self.__slots__)
