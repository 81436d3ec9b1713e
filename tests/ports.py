"""Spans of ports that the tests of one process give out in turn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import cycle, islice


def spans(first: int, end: int, width: int) -> Iterator[int]:
    """Give the first port of one span after the other, for ever; where it begins depends on the process."""
    every = range(first, end - width + 1, width)
    begin = os.getpid() % len(every)
    return islice(cycle(every), begin, None)
