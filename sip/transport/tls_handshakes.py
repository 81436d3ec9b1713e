"""TLS handshakes in progress, by source. Each counts as a connection, and yields its place to a source that has fewer.

A genuine handshake takes a few round trips, so the oldest one of the source with the most is probably held open on
purpose. An IPv6 network of 64 bits counts as one source, because one subscriber gets as much.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Generic, Protocol, TypeVar

HANDSHAKE_TIMEOUT = 5.0
"""Seconds of a TLS handshake; a slow-loris peer is cut off."""


class PendingHandshake(Protocol):
    """An accepted connection whose handshake is in progress."""

    remote: tuple[str, int]


Pending = TypeVar("Pending", bound=PendingHandshake)


class Handshakes(Generic[Pending]):
    """All handshakes in progress."""

    def __init__(self) -> None:
        self._by_source: dict[str, list[Pending]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, host: str) -> int:
        """Return the number of handshakes of one source."""
        return len(self._by_source.get(_source(host), ()))

    def begin(self, pending: Pending) -> None:
        """Count one."""
        self._by_source.setdefault(_source(pending.remote[0]), []).append(pending)
        self._count += 1

    def end(self, pending: Pending) -> None:
        """Remove a handshake; a second call does nothing."""
        source = _source(pending.remote[0])
        waiting = self._by_source.get(source, [])
        if pending in waiting:
            waiting.remove(pending)
            self._count -= 1
            if not waiting:
                del self._by_source[source]  # one-time sources use no memory

    def to_abort_for(self, host: str) -> Pending | None:
        """Return the handshake to abort so that this source gets a place; None if no other source has more."""
        most = max(self._by_source.values(), key=len, default=[])
        return most[0] if len(most) > self.of(host) else None


def _source(host: str) -> str:
    """Return the address; of an IPv6 address the first four groups."""
    if ":" not in host:
        return host
    return ip_address(host.partition("%")[0]).exploded[:19]
