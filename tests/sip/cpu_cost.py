"""What something costs of the processor."""

import time
from collections.abc import Callable

QUIET = 0.001
"""Seconds that the plain loop takes on the machine that limits are meant for."""
SLOWEST = 4.0
"""So much slower may a machine be at the moment and still be told from a fault, which costs ten times its limit."""


def cost(act: Callable[[], object], limit: float) -> float:
    """Give the seconds of this process' time: the least of three runs, or the first that is far from the limit.

    Where that is over the limit, a loop is timed as well: on a machine that is slow just now seconds count for less.
    """
    spent = [_timed(act)]
    while spent[-1] >= limit / 2 and len(spent) < 3:
        spent.append(_timed(act))
    if min(spent) < limit:
        return min(spent)
    loop = min(_timed(lambda: sum(n * n for n in range(20_000))) for _ in range(3))
    return min(spent) / min(SLOWEST, max(1.0, loop / QUIET))


def _timed(act: Callable[[], object]) -> float:
    begin = time.process_time()
    act()
    return time.process_time() - begin
