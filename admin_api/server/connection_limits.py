"""Who is served when connections are short: an address that holds many takes nothing from those that hold few."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

MAX_CONNECTIONS = 1000
"""Connections at once, all of one address too: a house may come through one proxy. One with TLS costs 0.1 MB."""

SPARE = 200
"""Connections beyond those, for whoever holds few."""

FEW = 20
"""Connections of one address that are few; a browser opens six."""

MAX_TURNED_AWAY = 1000
"""Connections at once that wait to be told that they are too many; one beyond that is told unasked."""


def has_room(places: Sequence[str], own: str) -> bool:
    """Say whether all these connections, each told by where it comes from, may be served, the last one from `own`."""
    return len(places) <= MAX_CONNECTIONS or (len(places) <= MAX_CONNECTIONS + SPARE and places.count(own) <= FEW)


def has_place(total: int, own: int) -> bool:
    """Say whether one more handshake may begin beside all connections and handshakes, `own` of them of its address."""
    return total < MAX_CONNECTIONS or (total < MAX_CONNECTIONS + SPARE and own < FEW)


def may_be_told(total: int, own: int) -> bool:
    """Say whether one too many may shake hands, to be told so, with `own` handshakes of its address under way."""
    return total <= MAX_CONNECTIONS + SPARE + MAX_TURNED_AWAY and own < FEW


def network(source: str) -> str:
    """Return the network that a person usually comes from: 24 bits of IPv4, 56 of IPv6, as providers hand them out."""
    address = _address(source)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return source if address is None else _prefix(address, 24 if address.version == 4 else 56)


def subscriber(source: str) -> str:
    """Return what addresses count as one: with IPv6 a network of 64 bits, which is what one subscriber has."""
    address = _address(source)
    return source if address is None or address.version == 4 else _prefix(address, 64)


def _address(source: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return None


def _prefix(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> str:
    return str(ipaddress.ip_network((address, bits), strict=False))
