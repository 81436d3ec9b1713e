"""Find our addresses to which a client can send media, one for each IP version, and addresses to avoid.

None of our media may be sent to the addresses to avoid.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address

from media.receive.ports import Ports
from media.receive.sockets import Pair, is_ours
from sip.message.header_values import Flow
from sip.sdp.description import FAMILIES, family_of, ip_of
from sip.sdp.plan import Addresses

ANY4, ANY6 = "0.0.0.0", "::"  # noqa: S104 - compared, not bound
MAX_ROUTES = 10_000
"""Cached addresses of ours by peer; a node has some dozens of SBCs, a flood any number of sources."""
_FAR = {"IP4": "192.0.2.1", "IP6": "2001:db8::1"}
"""Documentation addresses (RFC 5737, RFC 3849): they are reached by the default route."""


class LocalAddresses:
    """Returns our addresses, given what media sockets are bound to; `::` accepts both IP versions."""

    def __init__(self, bind: str, advertise: str | None, route: Callable[[str], str] | None = None) -> None:
        self._route = route or _route_source
        self._bind = bind
        self._advertise = advertise
        self._known: dict[tuple[str, str], Addresses] = {}

    def addresses(self, flow: Flow) -> Addresses:
        """Return our addresses for a client; raises OSError if there is no route back to it at all."""
        key = (flow.local[0], flow.remote[0])
        found = self._known.get(key)
        if found is None:
            found = self._look_up(flow)
            if len(self._known) >= MAX_ROUTES:
                self._known.clear()
            if found.other:  # a missing one may come later: at boot IPv6 is often late
                self._known[key] = found
        return found

    def _look_up(self, flow: Flow) -> Addresses:
        near = family_of(flow.remote[0])
        (far,) = FAMILIES - {near}
        first, second = self._of(near, flow), self._of(far, flow)
        if not (first or second):
            raise OSError("this client cannot be reached from any of our addresses")
        return Addresses(first or second, second if first else "", self._behind(flow))

    def _behind(self, flow: Flow) -> str:
        """If the configured address is a NAT's, return where its media arrive: where the request arrived."""
        host = flow.local[0].partition("%")[0] if self._bind in (ANY4, ANY6) else self._bind
        if not self._advertise or host in (ANY4, ANY6) or family_of(host) != family_of(self._advertise):
            return ""
        return "" if is_ours(self._advertise) else host

    def _of(self, family: str, flow: Flow) -> str:
        """Return our address of one IP version: as configured, else where the request arrived; empty if none."""
        if self._advertise and family_of(self._advertise) == family:
            return self._advertise
        if self._bind != ANY6 and family_of(self._bind) != family:
            return ""
        if self._bind not in (ANY4, ANY6):
            return self._bind
        host = flow.local[0].partition("%")[0]
        if family_of(host) == family and host not in (ANY4, ANY6):
            return host
        remote = flow.remote[0]
        return self._route(remote if family_of(remote) == family else _FAR[family])


class Closed:
    """Decides where no media may be sent: to our own listeners and media ports, and to broadcast addresses."""

    def __init__(
        self, listening: Iterable[int], ports: Ports[Pair], advertise: str | None = None, bind: str = ANY4
    ) -> None:
        """Take our SIP ports, our media ports, the address that clients are told and our own addresses.

        The first may be a NAT's, which leads back to us. If media have one address (`bind`), another program on this
        machine, such as an SBC, may have the same ports at another address.
        """
        self._bind = "" if bind in (ANY4, ANY6) else ip_of(bind) or ""
        self._listening = frozenset(listening)
        self._ports = ports
        self._advertised = ip_of(advertise) if advertise else None
        self._from_elsewhere = self._outside  # one bound method for all calls

    def of(self, source: str | None) -> Callable[[str, int], bool]:
        """Return a check of where nothing may be sent for a client at an address.

        A client on another machine has no media at our loopback, where services listen that trust everybody. A client
        on this machine may signal from any of our addresses; the kernel accepts none of those from outside.
        """
        return self if source is None or is_loopback(source) or is_ours(source) else self._from_elsewhere

    def __call__(self, host: str, port: int) -> bool:
        """Check one address and port of an offer."""
        heard = self._ports.taken(port)
        if (heard or port in self._listening) and host == self._advertised:
            return True
        ours = (heard and host == self._bind) if self._bind else heard
        return ((ours or port in self._listening) and is_ours(host)) or _is_broadcast(host)

    def _outside(self, host: str, port: int) -> bool:
        return is_loopback(host) or self(host, port)


@lru_cache(MAX_ROUTES)
def is_loopback(host: str) -> bool:
    """Return whether an address is one at which a machine talks to itself."""
    return ip_address(host.partition("%")[0]).is_loopback


@lru_cache(MAX_ROUTES)
def _is_broadcast(host: str) -> bool:
    """Return whether the kernel treats this as the broadcast address of a local network."""
    if ":" in host:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))  # sends nothing
        except PermissionError:
            return True
        except OSError:
            return False
    return False


def _route_source(remote: str) -> str:
    """Return the address that this machine would use towards another; empty if there is no route."""
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))  # sends nothing
        except OSError:
            return ""
        return str(probe.getsockname()[0]).partition("%")[0]
