"""Sequences in parts of limited size."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

BATCH = 500
"""Values in one IN list, or rows in one statement; other tasks run between two parts. Both databases allow 32,000."""

V = TypeVar("V")


def batches(values: Sequence[V], size: int = BATCH) -> Iterator[Sequence[V]]:
    """Yield a sequence in consecutive parts of `size` values; the last part may be shorter."""
    return (values[start : start + size] for start in range(0, len(values), size))
