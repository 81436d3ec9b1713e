"""TLS handshakes under way, by source: each takes a place of a connection, and gives it up to a source that has fewer.

A genuine handshake is over in some round trips, so the oldest of the source with most is one that is held open. With
IPv6 a network of 64 bits is one source, which is what one subscriber has.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Generic, Protocol, TypeVar


class Shaking(Protocol):
    """An accepted connection whose handshake is not over."""

    remote: tuple[str, int]


Gate = TypeVar("Gate", bound=Shaking)


class Handshakes(Generic[Gate]):
    """All that are under way."""

    def __init__(self) -> None:
        self._gates: dict[str, list[Gate]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, host: str) -> int:
        """Return how many one source has under way."""
        return len(self._gates.get(_source(host), ()))

    def begin(self, gate: Gate) -> None:
        """Count one."""
        self._gates.setdefault(_source(gate.remote[0]), []).append(gate)
        self._count += 1

    def end(self, gate: Gate) -> None:
        """Count one no more; a second time does nothing."""
        source = _source(gate.remote[0])
        gates = self._gates.get(source, [])
        if gate in gates:
            gates.remove(gate)
            self._count -= 1
            if not gates:
                del self._gates[source]  # passing sources leave no trace

    def in_the_way(self, host: str) -> Gate | None:
        """Return the one that has to go where a source finds no place: none if no other source has more."""
        most = max(self._gates.values(), key=len, default=[])
        return most[0] if len(most) > self.of(host) else None


def _source(host: str) -> str:
    """Return the address, or of an IPv6 one the first four groups."""
    if ":" not in host:
        return host
    return ip_address(host.partition("%")[0]).exploded[:19]
