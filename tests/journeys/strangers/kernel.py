"""What the kernel counts of processes and sockets, for those who flood them."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

SECOND = 0.95
"""Seconds between two log lines of one source, less what the clocks differ by."""


def dropped_by_the_kernel(host: str, port: int) -> int:
    """Datagrams that the kernel threw away because a socket was full (proc(5), the last word of each line)."""
    end = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if row[1] == end)
