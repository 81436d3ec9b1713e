"""The media ports of live calls, as their checkpoints name them outside the seal; no heavy import."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

LIVE = "live"
"""Folder of the checkpoints in the runtime directory."""


def left_ports(runtime_dir: Path) -> Iterator[tuple[int, bool]]:
    """Yield (RTP port, whether it has an RTCP port above it) of every checkpoint that can be read."""
    folder = runtime_dir / LIVE
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix:
            continue  # of a call that is over, or half written
        try:
            ports = json.loads(path.read_bytes())["ports"]
            yield from ((int(port), bool(rtcp)) for port, rtcp in ports)
        except (OSError, ValueError, KeyError, TypeError):
            continue
