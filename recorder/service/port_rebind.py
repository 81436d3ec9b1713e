"""Bind the media ports of live calls again before anything heavy is imported, so that the kernel keeps their packets.

Without systemd's descriptor store the ports are closed while the process is not running; each tenth of a second until
they are bound again is lost audio. This file imports nothing but sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from media.errors import MediaError
from media.receive.sockets import Pair, open_pair
from recorder.persist.checkpoint_file import left_ports


def stored_ports(stored: Mapping[str, Sequence[int]]) -> set[int]:
    """Return the ports of the descriptors that the service manager kept."""
    out = set()
    for descriptors in stored.values():
        for descriptor in descriptors:
            try:
                seen = socket.socket(fileno=descriptor)
            except OSError:
                continue  # not a socket, so not one of ours
            try:
                out.add(seen.getsockname()[1])
            except (OSError, IndexError):
                continue
            finally:
                seen.detach()
    return out


def bind_again(runtime_dir: Path, host: str, kept: Iterable[int]) -> dict[int, Pair]:
    """Bind the RTP and RTCP ports of every live call that nobody kept; return them by RTP port, without ports in use.

    `kept`: may hold ports that are not for media and will be bound later.
    """
    known = set(kept)
    out: dict[int, Pair] = {}
    for port, rtcp in left_ports(runtime_dir):
        if port in known or port in out or (rtcp and port + 1 in known):
            continue
        try:
            out[port] = open_pair(host, port, rtcp)
        except (MediaError, OSError):  # OSError: no more descriptors
            continue
    return out
