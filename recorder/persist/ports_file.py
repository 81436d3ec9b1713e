"""What the files of live calls say outside the seal: their media ports; no heavy import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recorder.persist.checkpoint_file import states

HIGHEST = 65_535
"""A pair takes the port above, too."""
MAX_PORTS = 128
"""Streams of a call: an SDP offer has at most 64 lines, and one that was removed keeps its port for a while."""


def left_ports(runtime_dir: Path) -> Iterator[tuple[int, bool]]:
    """Yield (RTP port, whether it has an RTCP port above it) of every live call whose file can be read.

    Not sealed, so a media worker that was broken into may have written it.
    """
    for state in states(runtime_dir):
        if state.over:
            continue
        try:
            told = [(port, bool(rtcp)) for port, rtcp in state.outer["ports"]]
        except (ValueError, KeyError, TypeError):
            continue
        yield from ((port, rtcp) for port, rtcp in told[:MAX_PORTS] if type(port) is int and 0 < port < HIGHEST)


def left_calls(runtime_dir: Path) -> set[str]:
    """Return the ids of the calls that a former life of the daemon left to go on with."""
    return {str(state.outer.get("call")) for state in states(runtime_dir) if not state.over}
