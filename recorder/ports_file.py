"""What the files of live calls say outside the seal: their media ports; no heavy import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recorder.slots import states


def left_ports(runtime_dir: Path) -> Iterator[tuple[int, bool]]:
    """Yield (RTP port, whether it has an RTCP port above it) of every live call whose file can be read."""
    for state in states(runtime_dir):
        if state.over:
            continue
        try:
            yield from ((int(port), bool(rtcp)) for port, rtcp in state.outer["ports"])
        except (ValueError, KeyError, TypeError):
            continue


def left_refused(runtime_dir: Path) -> set[str]:
    """Return the ids of calls whose INVITE was refused and whose files could not be removed."""
    return {str(state.outer.get("call")) for state in states(runtime_dir) if state.outer.get("refused") is True}


def left_calls(runtime_dir: Path) -> set[str]:
    """Return the ids of the calls that a former life of the daemon left to go on with."""
    return {str(state.outer.get("call")) for state in states(runtime_dir) if not state.over}
