"""Shell: by which addresses of ours a client can send media, one for each IP version; and where none are sent."""

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
"""Remembered addresses of ours by peer; a node has some dozens of SBCs, a flood has any number of sources."""
_FAR = {"IP4": "192.0.2.1", "IP6": "2001:db8::1"}
"""Addresses of documentation (RFC 5737, RFC 3849): the way to them is the default route."""


class LocalAddresses:
    """Tells our addresses to whoever asks, by what media sockets are bound to; `::` takes both IP versions."""

    def __init__(self, bind: str, advertise: str | None) -> None:
        self._bind = bind
        self._advertise = advertise
        self._known: dict[tuple[str, str], Addresses] = {}

    def addresses(self, flow: Flow) -> Addresses:
        """Return our addresses for a client; raise OSError if there is no way back to it at all."""
        key = (flow.local[0], flow.remote[0])
        found = self._known.get(key)
        if found is None:
            found = self._look_up(flow)
            if len(self._known) >= MAX_ROUTES:
                self._known.clear()
            if found.other:  # what is not there yet may come: at boot IPv6 is often late
                self._known[key] = found
        return found

    def _look_up(self, flow: Flow) -> Addresses:
        near = family_of(flow.remote[0])
        (far,) = FAMILIES - {near}
        first, second = self._of(near, flow), self._of(far, flow)
        if not (first or second):
            raise OSError("no address of ours leads to this client")
        return Addresses(first or second, second if first else "", self._behind(flow))

    def _behind(self, flow: Flow) -> str:
        """Return where media for the configured address arrive if that is a NAT's: where the request arrived."""
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
        return _route_source(remote if family_of(remote) == family else _FAR[family])


class Closed:
    """Tells where no media may be sent: to listeners and media ports of ours, and to broadcast addresses."""

    def __init__(
        self, listening: Iterable[int], ports: Ports[Pair], advertise: str | None = None, bind: str = ANY4
    ) -> None:
        """Take the ports that are listened on for requests, those of media, the address that clients are told and ours.

        The first may be a NAT's, which leads back to us. Where media have one address (`bind`), somebody else on this
        machine, as an SBC, may have the same ports at another one.
        """
        self._bind = "" if bind in (ANY4, ANY6) else ip_of(bind) or ""
        self._listening = frozenset(listening)
        self._ports = ports
        self._advertised = ip_of(advertise) if advertise else None
        self._from_elsewhere = self._outside  # one bound method for all calls

    def of(self, source: str | None) -> Callable[[str, int], bool]:
        """Return what tells where nothing may be sent for a client at an address.

        On another machine than ours none has its media at our loopback, where services listen that trust everybody. One
        on ours may signal from any of our addresses; from outside the kernel lets none of them in.
        """
        return self if source is None or is_loopback(source) or is_ours(source) else self._from_elsewhere

    def __call__(self, host: str, port: int) -> bool:
        """Look at one address and port of an offer."""
        heard = self._ports.taken(port)
        if (heard or port in self._listening) and host == self._advertised:
            return True
        ours = (heard and host == self._bind) if self._bind else heard
        return ((ours or port in self._listening) and is_ours(host)) or _is_broadcast(host)

    def _outside(self, host: str, port: int) -> bool:
        return is_loopback(host) or self(host, port)


@lru_cache(MAX_ROUTES)
def is_loopback(host: str) -> bool:
    """Tell whether an address is one at which a machine speaks to itself."""
    return ip_address(host.partition("%")[0]).is_loopback


@lru_cache(MAX_ROUTES)
def _is_broadcast(host: str) -> bool:
    """Tell the broadcast address of a network of this machine, by what the kernel says of it."""
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
    """Return the address that this machine would use towards another; empty if there is no way."""
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))  # sends nothing
        except OSError:
            return ""
        return str(probe.getsockname()[0]).partition("%")[0]
