"""Limits for connections: when they run short, an address that holds many takes none from those that hold few."""

from __future__ import annotations

import ipaddress

MAX_CONNECTIONS = 1000
"""Connections at once; one address may have all of them: an office may use one proxy. One with TLS costs 0.1 MB."""

SPARE = 200
"""Further connections, for addresses that hold few."""

FEW = 20
"""Connections that count as few for one address; a browser opens six."""

MAX_TURNED_AWAY = 1000
"""Surplus connections that may wait for a request to answer with 503; any further one gets the 503 at once."""


def has_place(total: int, own: int) -> bool:
    """Return whether this many connections and handshakes may be served; `own` are of the newest one's address."""
    return total <= MAX_CONNECTIONS or (total <= MAX_CONNECTIONS + SPARE and own <= FEW)


def may_wait(total: int) -> bool:
    """Return whether a surplus client may wait for its request, given all connections and handshakes."""
    return total <= MAX_CONNECTIONS + SPARE + MAX_TURNED_AWAY


def may_be_told(total: int, own: int) -> bool:
    """Return whether a surplus client may complete its handshake to get a 503; `own`: its address's handshakes."""
    return may_wait(total) and own < FEW


def network(source: str) -> str:
    """Return the network of a person's address: 24 bits of IPv4, or 56 of IPv6, as providers assign them."""
    address = _address(source)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return source if address is None else _prefix(address, 24 if address.version == 4 else 56)


def subscriber(source: str) -> str:
    """Return the key under which addresses count as one: for IPv6 the /64, which one subscriber has."""
    address = _address(source)
    return source if address is None or address.version == 4 else _prefix(address, 64)


def _address(source: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return None


def _prefix(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> str:
    return str(ipaddress.ip_network((address, bits), strict=False))
