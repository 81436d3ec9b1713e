"""Instructions that the main process executes for one call, INVITE to BYE, counted by valgrind's callgrind.

Run `python -m bench.instructions [--calls 90] [--transport udp|tcp]`; needs valgrind, and takes a minute or two.

On a shared machine, the CPU time of the same version differs by half from hour to hour. This count differs by a tenth,
depending on what else happens in the period, so compare two versions by three runs each, in turn. Calls come slowly,
because callgrind is some fifty times slower than the processor: work that is done once for all calls of a second is
shared by only three. The daemon's work without calls is counted separately and subtracted. Workers are not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import tempfile
import time
from pathlib import Path

from bench import node, processes, setup

RATE = 3
"""Calls a second; callgrind keeps up with no more."""
WARM = 6.0
"""Seconds of calls before those that are counted: imports, caches, compiled statements."""
SETTLE = 4.0
"""Seconds after the last BYE in which calls are finished and indexed."""
READY_SECONDS = 240.0
"""Longest time for the start."""
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


def counted(pid: int, folder: Path) -> int:
    """Return the instructions since the last dump; callgrind writes one file for each thread."""
    for former in folder.iterdir():
        former.unlink()
    subprocess.run(["callgrind_control", "--dump", str(pid)], check=True, capture_output=True)
    time.sleep(1.0)
    found = [_TOTALS.search(file.read_text(errors="replace")) for file in folder.iterdir()]
    return sum(int(match[1]) for match in found if match)


def measure(calls: int, transport: str) -> tuple[float, float]:
    """Return the instructions for a call, and those of a second without calls; SystemExit if calls failed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        tool = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder / 'out'}", "--trace-children=no")
        with node.running(under=tool, ready=READY_SECONDS) as daemon:
            _placed(daemon, transport, WARM, 0)
            counted(daemon.process.pid, folder)
            began = time.monotonic()
            _placed(daemon, transport, calls / RATE, 1_000)
            lasted = time.monotonic() - began
            busy = counted(daemon.process.pid, folder)
            time.sleep(lasted)
            idle = counted(daemon.process.pid, folder)
    return (busy - idle) / calls, idle / lasted


def _placed(daemon: node.Node, transport: str, seconds: float, first: int) -> None:
    done = asyncio.run(setup.step(daemon.sip, transport, RATE, seconds, first))
    if not all(call.well for call in done):
        raise SystemExit(f"VOID: calls failed.\n{daemon.warnings()}")
    time.sleep(SETTLE)


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=90, help="a multiple of three")
    parser.add_argument("--transport", choices=("udp", "tcp"), default="udp")
    given = parser.parse_args()
    print(f"{processes.machine()}\n{given.calls} calls over {given.transport.upper()}", flush=True)
    call, second = measure(given.calls, given.transport)
    print(f"{call / 1e6:.2f} million instructions a call; {second / 1e6:.2f} million a second without calls")


if __name__ == "__main__":
    main()
