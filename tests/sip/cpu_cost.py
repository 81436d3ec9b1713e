"""What something costs of the processor, told apart from what the collector of garbage does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

ROUNDS = 20_000
QUIET = 0.001
"""Seconds that so many rounds of a loop take on the machine that limits are meant for."""
SLOWEST = 4.0
"""So much slower may a machine be at the moment and still be told from a fault, which costs ten times its limit."""


def cost(act: Callable[[], object], limit: float) -> float:
    """Give the seconds of this process' time: the least of three runs, or the first that is far from the limit.

    Where that is over the limit, a loop is timed as well: on a machine that is slow just now seconds count for less.
    """
    spent = []
    for _ in range(3):
        spent.append(_timed(act))
        if spent[-1] < limit / 2:
            break
    return min(spent) if min(spent) < limit else min(spent) / slowness()


def slowness() -> float:
    """Tell how many times as long as usual a plain loop takes at the moment, 1 to SLOWEST."""
    return min(SLOWEST, max(1.0, min(_timed(_loop) for _ in range(3)) / QUIET))


def _loop() -> int:
    total = 0
    for n in range(ROUNDS):
        total += n * n
    return total


def _timed(act: Callable[[], object]) -> float:
    begin = time.process_time()
    act()
    return time.process_time() - begin
