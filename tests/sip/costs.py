"""What something costs of the processor, told apart from what the collector of garbage does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable


def cost(act: Callable[[], object], limit: float) -> float:
    """Give the seconds of this process' time: the least of three runs, or the first that is far from the limit."""
    spent = []
    for _ in range(3):
        begin = time.process_time()
        act()
        spent.append(time.process_time() - begin)
        if spent[-1] < limit / 2:
            break
    return min(spent)
