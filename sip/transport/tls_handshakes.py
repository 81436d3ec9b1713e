"""TLS handshakes under way, by source: each takes a place of a connection, and gives it up to a source that has fewer.

A genuine handshake is over in some round trips, so the oldest of the source with most is one that is held open. With
IPv6 a network of 64 bits is one source, which is what one subscriber has.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Generic, Protocol, TypeVar

HANDSHAKE_TIMEOUT = 5.0
"""Seconds of a TLS handshake; a slow-loris peer is cut off."""


class PendingHandshake(Protocol):
    """An accepted connection whose handshake is not over."""

    remote: tuple[str, int]


Pending = TypeVar("Pending", bound=PendingHandshake)


class Handshakes(Generic[Pending]):
    """All that are under way."""

    def __init__(self) -> None:
        self._by_source: dict[str, list[Pending]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, host: str) -> int:
        """Return how many one source has under way."""
        return len(self._by_source.get(_source(host), ()))

    def begin(self, pending: Pending) -> None:
        """Count one."""
        self._by_source.setdefault(_source(pending.remote[0]), []).append(pending)
        self._count += 1

    def end(self, pending: Pending) -> None:
        """Count one no more; a second time does nothing."""
        source = _source(pending.remote[0])
        waiting = self._by_source.get(source, [])
        if pending in waiting:
            waiting.remove(pending)
            self._count -= 1
            if not waiting:
                del self._by_source[source]  # passing sources leave no trace

    def to_abort_for(self, host: str) -> Pending | None:
        """Return the one that has to go where a source finds no place: none if no other source has more."""
        most = max(self._by_source.values(), key=len, default=[])
        return most[0] if len(most) > self.of(host) else None


def _source(host: str) -> str:
    """Return the address, or of an IPv6 one the first four groups."""
    if ":" not in host:
        return host
    return ip_address(host.partition("%")[0]).exploded[:19]
