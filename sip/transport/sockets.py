"""The two kinds of sockets of `sip.transport.server`: a UDP listener and a stream connection. They know no SIP."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Protocol

from sip.message.header_values import Flow
from sip.transport import tls_handshakes

# Datagrams waiting to be sent per listener; beyond it they are lost, which SIP repairs.
MAX_UNSENT = 10_000
# Datagrams read at one wake-up: a burst of 3 ms.
DATAGRAMS_AT_ONCE = 32
# Bytes of the largest UDP datagram.
MAX_DATAGRAM = 65_535
# Bytes that a peer may leave unread on a connection before it is closed; a 200 has about 2 KB.
MAX_UNREAD = 1024 * 1024
# Seconds a closed connection may take to send its last bytes.
LINGER = 5.0
# linux/in.h: the address to which a datagram was sent, or from which it is sent; the socket module has no name for it.
IP_PKTINFO = 8
# Interface (any), our address, address in the header (in_pktinfo); address and interface (in6_pktinfo).
_INFO4, _INFO6 = struct.Struct("=I4s4s"), struct.Struct("=16sI")
ANCILLARY = socket.CMSG_SPACE(_INFO6.size) + socket.CMSG_SPACE(_INFO4.size)
# Number of source addresses for which our own address is remembered.
MAX_LOCALS = 10_000
# Prefixes of IPv6 addresses from which nothing can be sent without more information, such as an interface.
MULTICAST, LINK_LOCAL = 0xFF, b"\xfe\x80"
# Any port: a UDP socket is connected to it only to learn our own address; nothing is sent.
NO_MATTER = 9

Address = tuple[str, int]


class Callbacks(Protocol):
    """What a socket needs from the server."""

    def admits(self, flow: Flow) -> bool:
        """Return whether datagrams from this source are processed."""

    def received(self, data: bytes, flow: Flow) -> None:
        """Process a datagram."""

    def room_for(self, host: str) -> bool:
        """Return whether a source may open one more connection."""

    def connected(self, connection: Connection) -> bool:
        """Add a connection."""

    def read(self, data: bytes, flow: Flow) -> None:
        """Process bytes from a connection."""

    def disconnected(self, connection: Connection) -> None:
        """Remove a connection."""

    def next_number(self) -> int:
        """Return the number of the next connection."""

    def secure(self, acceptor: TlsAcceptor) -> None:
        """Start the TLS handshake of an accepted connection."""

    def unsent(self, flow: Flow) -> None:
        """Note that a datagram was longer than UDP carries."""

    def rejected(self, flow: Flow, reason: str) -> None:
        """Report a connection that was not established."""

    def names_of(self, tls: ssl.SSLObject | None) -> tuple[str, ...]:
        """Return the names in a peer's certificate that count."""
        ...


class Datagrams:
    """One UDP listener."""

    def __init__(self, callbacks: Callbacks, number: int, own: socket.socket) -> None:
        self._callbacks = callbacks
        self._number = number
        self._socket = own
        self._bound: Address = own.getsockname()[:2]
        self._anywhere = ip_address(self._bound[0].partition("%")[0]).is_unspecified
        self._room = ANCILLARY if self._anywhere else 0
        self.family = socket.AF_INET6 if ":" in self._bound[0] else socket.AF_INET
        self._locals: dict[str, Address] = {}
        self._inbox = memoryview(bytearray(MAX_DATAGRAM))
        self._unsent: deque[tuple[bytes, Address, str]] = deque()

    def open(self) -> None:
        """Start listening, on the running loop."""
        if self._anywhere:
            v6 = self.family == socket.AF_INET6
            level, option = (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO) if v6 else (socket.IPPROTO_IP, IP_PKTINFO)
            self._socket.setsockopt(level, option, 1)
        asyncio.get_running_loop().add_reader(self._socket, self.readable)

    def readable(self) -> None:
        """Hand over datagrams of admitted sources; ignore all others without an answer.

        Read a few at once: each wake-up of the loop costs more than a read, and a flood must leave time for others.
        """
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                size, ancillary, _, address = self._socket.recvmsg_into([self._inbox], self._room)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error caused by an earlier datagram; the socket is still usable.
                continue
            remote: Address = address[:2]
            flow = Flow("udp", self._bound, remote, 0, self._number)
            if self._callbacks.admits(flow):
                if self._anywhere:
                    here = local_address_of(ancillary)
                    local = (here, self._bound[1]) if here else self._local(remote[0])
                    flow = Flow("udp", local, remote, 0, self._number)
                self._callbacks.received(bytes(self._inbox[:size]), flow)

    def put(self, data: bytes, remote: Address, here: str = "") -> None:
        """Send a datagram, at once if the kernel has room and nothing waits. `here`: send from this address of ours.

        A peer behind a NAT, or with a connected socket, only receives from the address it sent to (RFC 3581 section 4).
        """
        if not self._unsent and self._sent(data, remote, here):
            return
        if len(self._unsent) < MAX_UNSENT:
            self._unsent.append((data, remote, here))
            if len(self._unsent) == 1:
                asyncio.get_running_loop().add_writer(self._socket, self.flush)

    def _sent(self, data: bytes, remote: Address, here: str) -> bool:
        """Try to send; return False if it has to wait. What the kernel refuses is lost, which SIP repairs."""
        asked = source_address_data(here) if self._anywhere else []
        # The first try may only report the failure of an earlier datagram.
        for _ in range(2):
            try:
                if asked:
                    self._socket.sendmsg([data], asked, 0, remote)
                else:
                    self._socket.sendto(data, remote)
                return True
            except BlockingIOError:
                return False
            except (OSError, ValueError, OverflowError) as problem:
                if isinstance(problem, OSError) and problem.errno == errno.EMSGSIZE:
                    # A response repeats parts of its request; if it is too long, a shorter one is not possible.
                    self._callbacks.unsent(Flow("udp", self._bound, remote, 0, self._number))
                    return True
                asked = []  # this machine may have lost that address: another is better than none
        return True

    def flush(self) -> None:
        """Send waiting datagrams while the kernel has room."""
        while self._unsent and self._sent(*self._unsent[0]):
            self._unsent.popleft()
        if not self._unsent:
            asyncio.get_running_loop().remove_writer(self._socket)

    def close(self) -> None:
        """Send what can be sent and stop listening."""
        self.flush()
        loop = asyncio.get_running_loop()
        loop.remove_writer(self._socket)
        loop.remove_reader(self._socket)
        self._socket.close()

    def _local(self, host: str) -> Address:
        """Return our address as this peer sees it, if the socket is bound to all addresses."""
        known = self._locals.get(host)
        if known is None:
            if len(self._locals) >= MAX_LOCALS:
                self._locals.clear()
            known = self._locals[host] = self._look_up(host)
        return known

    def _look_up(self, host: str) -> Address:
        with contextlib.suppress(OSError), socket.socket(self.family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, NO_MATTER))
            return probe.getsockname()[0], self._bound[1]
        return self._bound


def local_address_of(ancillary: list[tuple[int, int, bytes]]) -> str:
    """Return our address to which a datagram was sent, from the kernel; empty if we cannot send from it."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            _, here, _ = _INFO4.unpack_from(data)
            return socket.inet_ntop(socket.AF_INET, here) if any(here) else ""
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            packed, _ = _INFO6.unpack_from(data)
            plain = packed[0] != MULTICAST and packed[:2] != LINK_LOCAL
            return socket.inet_ntop(socket.AF_INET6, packed) if plain else ""
    return ""


@lru_cache(MAX_LOCALS)
def source_address_data(here: str) -> list[tuple[int, int, bytes]]:
    """Return the control message that sets a datagram's source address; empty if it cannot be set."""
    with contextlib.suppress(OSError):
        if ":" in here:
            return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _INFO6.pack(socket.inet_pton(socket.AF_INET6, here), 0))]
        if here:
            return [(socket.IPPROTO_IP, IP_PKTINFO, _INFO4.pack(0, socket.inet_aton(here), bytes(4)))]
    return []


class Connection(asyncio.Protocol):
    """One TCP or TLS connection, accepted or opened by us."""

    flow: Flow
    transport: asyncio.Transport

    def __init__(self, callbacks: Callbacks, listener: int, kind: str, asked: Flow | None = None) -> None:
        self._callbacks = callbacks
        self._listener = listener
        self._kind = kind
        self._asked = asked
        self.opened_by_us = asked is not None
        # An unknown peer; it gets one answer.
        self._one_answer = False
        self._early: list[bytes] = []
        self._ready = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set up a connection that needs no handshake any more."""
        if isinstance(transport, asyncio.Transport):
            self.transport = transport
            self.establish()

    def establish(self) -> None:
        """Ask the server whether the peer is admitted."""
        transport = self.transport
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if not local or not remote:
            transport.abort()
            return
        # On a connection that we opened, the peer calls back at our listener, not at the port chosen by the kernel.
        here: Address = self._asked.local if self._asked else local[:2]
        there: Address = self._asked.remote if self._asked else remote[:2]
        names = self._callbacks.names_of(transport.get_extra_info("ssl_object"))
        self.flow = Flow(self._kind, here, there, self._callbacks.next_number(), self._listener, names)
        self._ready = self._callbacks.connected(self)
        if not self._ready:
            transport.abort()
            return
        early, self._early = self._early, []
        for data in early:
            self._callbacks.read(data, self.flow)

    def data_received(self, data: bytes) -> None:
        """Hand over bytes; keep those that come with the end of the handshake until `connection_made`."""
        if self._ready:
            self._callbacks.read(data, self.flow)
        else:
            self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the server."""
        if self._ready:
            self._ready = False
            self._callbacks.disconnected(self)

    def write(self, data: bytes) -> None:
        """Send bytes; close the connection of a peer that does not read."""
        if self.transport.is_closing():
            return
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > MAX_UNREAD:
            self.transport.abort()
        elif self._one_answer:
            self.close()

    def close_after_answer(self, seconds: float) -> None:
        """Close after one message was sent, or after `seconds` if none was."""
        self._one_answer = True
        asyncio.get_running_loop().call_later(seconds, self.close)

    def close(self) -> None:
        """Send the rest and close; abort if that takes too long."""
        self.transport.close()
        asyncio.get_running_loop().call_later(LINGER, self.transport.abort)


class TlsAcceptor(asyncio.Protocol):
    """An accepted connection before its TLS handshake."""

    transport: asyncio.Transport
    remote: Address

    def __init__(self, callbacks: Callbacks, listener: int, context: Callable[[], ssl.SSLContext]) -> None:
        self._callbacks = callbacks
        self._listener = listener
        self._context = context

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pause reading and let the server start the handshake."""
        if not isinstance(transport, asyncio.Transport):
            return
        self.transport = transport
        peer = transport.get_extra_info("peername")
        if not peer:
            transport.abort()
            return
        self.remote = peer[:2]
        if not self._callbacks.room_for(peer[0]):
            self._reject("too-many-connections")
            return
        transport.pause_reading()
        self._callbacks.secure(self)

    async def handshake(self) -> Connection | None:
        """Do the TLS handshake with a fresh context; return None if it failed and the connection is closed."""
        connection = Connection(self._callbacks, self._listener, "tls")
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                self.transport,
                connection,
                self._context(),
                server_side=True,
                ssl_handshake_timeout=tls_handshakes.HANDSHAKE_TIMEOUT,
            )
        except asyncio.CancelledError:
            self.transport.abort()
            return None
        except OSError as problem:  # includes ssl.SSLError: no TLS, an old version, a missing certificate
            # asyncio's frames form a cycle with a 256 KiB buffer; a flood must not wait for the garbage collector
            problem.__traceback__ = None
            self._reject("tls-handshake")
            return None
        if secured is None:
            self._reject("tls-handshake")
            return None
        connection.transport = secured
        return connection

    def _reject(self, reason: str) -> None:
        here = self.transport.get_extra_info("sockname") or ("", 0)
        self._callbacks.rejected(Flow("tls", here[:2], self.remote, 0, self._listener), reason)
        self.transport.abort()


def certificate_names(tls: ssl.SSLObject | None) -> tuple[str, ...]:
    """Return the subject alternative names of a verified client certificate (RFC 5922 section 7.1), in lower case.

    A name counts only as what it is: no URI or DNS name can stand for an address, no URI without `sip:` for a host.
    """
    certificate = tls.getpeercert() if tls else None
    if not certificate:
        return ()
    # typeshed gives the value as a union of several shapes; this key always holds pairs of strings.
    pairs: Any = certificate.get("subjectAltName", ())
    return tuple(name for kind, value in pairs if (name := _name(kind, str(value).strip().lower())))


def _name(kind: str, value: str) -> str:
    """Return a subject alternative name, an address as ipaddress writes it; "" if it names no peer."""
    try:
        address = str(ipaddress.ip_address(value))
    except ValueError:
        return value if kind == "DNS" or (kind == "URI" and value.startswith("sip:")) else ""
    return address if kind == "IP Address" else ""


def certificate_matches(asked: Flow, made: Flow) -> bool:
    """Return whether a TLS peer shows a name that the dialog's client showed; True if that client showed none."""
    wanted = set(asked.certificate_names)
    return asked.transport != "tls" or not wanted or bool(wanted & set(made.certificate_names))
