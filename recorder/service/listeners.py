"""Open the daemon's listening sockets, or take them over from systemd's descriptor store."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recorder.config.readers import Listener
from recorder.errors import NotPossible

BACKLOG = 1024
"""All SBCs reconnect at the same moment after a restart."""


@dataclass(frozen=True, slots=True)
class Listening:
    """One open socket and where it came from."""

    address: Listener
    socket: socket.socket
    name: str  # name in the descriptor store
    adopted: bool


def open_socket(address: Listener) -> socket.socket:
    """Open and bind one listening socket; raises NotPossible with a clear sentence if that fails."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    stream = address.transport != "udp"
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    proto = (
        socket.IPPROTO_TCP if stream else socket.IPPROTO_UDP
    )  # asyncio sets TCP_NODELAY only if the protocol is named
    made = socket.socket(family, kind, proto)
    try:
        made.setblocking(False)
        if stream:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address.host, address.port))
        if stream:
            made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise NotPossible(
            f"Cannot listen on {address}: {error.strerror}.",
            "Is another recorder running? Choose another address or port in the configuration.",
        ) from None
    return made


def open_all(
    addresses: Sequence[Listener], prefix: str, stored: Mapping[str, Sequence[socket.socket]]
) -> list[Listening]:
    """Open every address in order; take over a stored socket that is still bound to the same address."""
    out: list[Listening] = []
    try:
        for number, address in enumerate(addresses):
            name = f"{prefix}{number}"
            adopted = next((s for s in stored.get(name, ()) if _same(s, address)), None)
            out.append(Listening(address, adopted or open_socket(address), name, adopted is not None))
    except NotPossible:
        for opened in out:
            opened.socket.close()
        raise
    return out


def _same(stored: socket.socket, address: Listener) -> bool:
    try:
        bound = stored.getsockname()
        kind = socket.SOCK_DGRAM if address.transport == "udp" else socket.SOCK_STREAM
    except OSError:
        return False
    return stored.type == kind and bound[:2] == (address.host, address.port)
