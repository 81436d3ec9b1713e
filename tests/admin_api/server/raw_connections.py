"""Plain and TLS connections to a server that listens on loopback."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

ALIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LONG = 30.0


def raw(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LONG, source_address=(source, 0))


def secured(plain: socket.socket, certificate: Path) -> ssl.SSLSocket:
    """Shake hands over a connection."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    return context.wrap_socket(plain)


def everything(client: socket.socket) -> bytes:
    """Read until the server closes."""
    data = b""
    while chunk := client.recv(65536):
        data += chunk
    return data


def is_closed(client: socket.socket) -> bool:
    with contextlib.suppress(ConnectionError):
        return client.recv(1) == b""
    return True
