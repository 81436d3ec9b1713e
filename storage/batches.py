"""Split sequences into parts of limited size."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

BATCH = 500
"""Values of one IN list, or rows of one statement; other tasks run between two. Both databases allow 32,000."""

V = TypeVar("V")


def batches(values: Sequence[V], size: int = BATCH) -> Iterator[Sequence[V]]:
    """Yield the parts of a sequence in order, all but the last of this size."""
    return (values[start : start + size] for start in range(0, len(values), size))
