"""The counters of one stream in less than half of a dict's memory, and what is new in them; pure.

Thousands of calls have two or more streams each, and all are counted again every five seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import sub
from typing import Any, NamedTuple

from recorder.workers.messages import Counts


class Growth(NamedTuple):
    """By how much each counter of a stream increased, under the names of docs/api.md."""

    packets: int
    lost: int
    duplicates: int
    rejected: int
    foreign: int
    late: int
    gap_ms: int


_PLACES = {name: place for place, name in enumerate(Growth._fields)}


class Tally(Mapping[str, Any]):
    """What a worker counted for a stream, under the same names."""

    __slots__ = ("counts",)

    def __init__(self, counts: Counts) -> None:
        self.counts: tuple[int, ...] = counts[1:8]  # from packets to gap_ms, in the order above

    def __getitem__(self, name: str) -> Any:
        return self.counts[_PLACES[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(Growth._fields)

    def __len__(self) -> int:
        return len(self.counts)


def growth(before: Mapping[str, Any], fresh: Mapping[str, Any]) -> Growth:
    """Return the increase of a stream's figures since earlier ones, which may be missing."""
    return Growth._make(map(sub, _counts(fresh), _counts(before)))


def _counts(figures: Mapping[str, Any]) -> tuple[int, ...]:
    if isinstance(figures, Tally):
        return figures.counts
    return tuple([figures.get(name, 0) for name in Growth._fields])
