"""What the log costs: CPU time of a line, of one that the rate limit holds back, of one below the level.

make bench BENCH=log
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import uuid
from collections.abc import Callable, Sequence

from recorder.observe import logs

ROUNDS = 5  # the fastest counts: anything slower was another process


def main(words: Sequence[str] | None = None) -> int:
    """Print one table: microseconds of CPU time for each kind of line."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench.log")
    parser.add_argument("--lines", type=int, default=20_000, help="lines of each kind (default: 20,000)")
    lines = parser.parse_args(words).lines
    calls = [str(uuid.uuid4()) for _ in range(lines)]
    with open(os.devnull, "w", encoding="ascii") as nowhere, logs.install("info", stream=nowhere) as pipeline:
        log = logs.get("recorder.bench")
        bound = log.bind(customer="acme")
        library = logging.getLogger("sqlalchemy.engine")
        kinds: dict[str, Callable[[str], object]] = {
            "line": lambda call: log.info("call.started", call=call, customer="acme", streams=2),
            "line of a bound logger": lambda call: bound.info("call.ended", call=call, streams=2),
            "line with an exception": lambda call: log.fault("call.fault", ValueError(), call=call),
            "line held back": lambda _: log.warning("sip.dropped", source="192.0.2.1", reason="flood"),
            "line of a library, held back": lambda _: library.warning("pool %s", "full"),
            "line below the level": lambda call: log.debug("call.started", call=call, customer="acme", streams=2),
            "binding a logger": lambda call: log.bind(call=call),
        }
        figures = {kind: min(_cost(write, calls) for _ in range(ROUNDS)) for kind, write in kinds.items()}
        pipeline.release()
    print(f"{'':30} {'us':>6}")
    for kind, cost in figures.items():
        print(f"{kind:30} {cost * 1e6:6.2f}")
    return 0


def _cost(write: Callable[[str], object], calls: Sequence[str]) -> float:
    """Return the seconds of CPU time that one line takes."""
    begin = time.process_time()
    for call in calls:
        write(call)
    return (time.process_time() - begin) / len(calls)


if __name__ == "__main__":
    raise SystemExit(main())
