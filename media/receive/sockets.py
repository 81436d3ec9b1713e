"""Shell: the UDP sockets of a stream, set up for recvmmsg."""

import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from media.errors import SocketRefused
from media.spec import pack_ip, unwrap

#: linux/asm-generic/socket.h; the socket module has no names for them.
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
#: linux/in.h: our address from which a datagram is sent.
IP_PKTINFO = 8
#: linux/sock_diag.h.
SK_MEMINFO_VARS, SK_MEMINFO_DROPS = 9, 8

#: Receive buffer that the kernel charges per packet (Linux 6.18): 200 bytes of G.711 and SRTP, a full Ethernet frame.
BYTES_PER_PACKET = 832
BYTES_PER_FRAME = 2304
#: 5 s of 2 Mbit/s video in frames of 1,250 bytes, or 55 s of G.711: how long a worker may be away. The kernel only uses
#: memory for packets that are waiting, and doubles the requested size (socket(7)).
RECEIVE_BUFFER = 5 * 200 * BYTES_PER_FRAME // 2 + 4096
#: RTCP is read every 5 s: at 50 packets a second, from the client and from strangers, no report is lost.
RTCP_BUFFER = 5 * 50 * BYTES_PER_PACKET // 2 + 24 * 1024
#: 40,000 packets: 2 s of the largest flood expected; the kernel doubles the requested size.
FLOOD_BUFFER = 40_000 * BYTES_PER_PACKET // 2

#: Number of remembered routes to peers; a node has a few dozen SBCs.
MAX_WAYS = 1_000
#: Any port: a UDP socket is connected to it only to learn our own address; nothing is sent.
NO_MATTER = 9

_libc = ctypes.CDLL(None, use_errno=True)
#: sockaddr with the family AF_UNSPEC (0), which disconnects a socket, connect(2).
_NOBODY = bytes(16)
#: Space for a peer's name that is not read, sockaddr_storage.
_peer = ctypes.create_string_buffer(128)
#: struct sockaddr_in and sockaddr_in6: family, port, address; with flow label and scope.
_NAME4, _NAME6 = struct.Struct("=H2s4s8x"), struct.Struct("=H2sI16sI")
#: As a plain number, which ctypes takes without looking up the enumeration.
_DONTWAIT = int(socket.MSG_DONTWAIT)


@dataclass(frozen=True, slots=True)
class Pair:
    """The sockets of one stream."""

    rtp: socket.socket
    # None with rtcp-mux
    rtcp: socket.socket | None
    # receive buffer that the kernel granted, bytes
    buffer: int
    # of the RTP socket
    port: int

    def filenos(self) -> list[int]:
        """Return the descriptors, RTP first."""
        return [self.rtp.fileno()] + ([self.rtcp.fileno()] if self.rtcp else [])

    @property
    def peer(self) -> tuple[str, int] | None:
        """Return the peer to which the RTP socket is connected; None if it receives from everybody."""
        try:
            name = self.rtp.getpeername()
        except OSError:
            return None
        return str(name[0]), int(name[1])

    def shrink_buffer(self) -> None:
        """Have the kernel keep almost no further packets, because nobody will read them."""
        for each in (self.rtp, self.rtcp):
            if each:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)

    def close(self) -> None:
        """Close both."""
        self.rtp.close()
        if self.rtcp:
            self.rtcp.close()

    @classmethod
    def adopt(cls, descriptors: Sequence[int]) -> "Pair":
        """Take over the descriptors of an earlier process, RTP first; raise SocketRefused if they are no sockets."""
        try:
            sockets = [socket.socket(fileno=fd) for fd in descriptors]
        except OSError as problem:
            raise SocketRefused(f"not a socket: {os.strerror(problem.errno or 0)}") from None
        for each in sockets:
            each.setblocking(False)
            stamp_arrivals(each)
        return cls(sockets[0], sockets[1] if len(sockets) > 1 else None, _granted(sockets[0]), _port(sockets[0]))


def open_pair(host: str, port: int, rtcp: bool = True, buffer: int = RECEIVE_BUFFER) -> Pair:
    """Open the RTP socket on an even port and the RTCP socket above it; raise SocketRefused if either is in use."""
    rtp = _open(host, port, buffer)
    try:
        above = _open(host, port + 1, RTCP_BUFFER) if rtcp else None
    except SocketRefused:
        rtp.close()
        raise
    return Pair(rtp, above, _granted(rtp), port or _port(rtp))


def refused_buffer(host: str, wanted: int = RECEIVE_BUFFER) -> int:
    """Return the size of the receive buffer granted here if it is less than `wanted`, else 0; OSError if none opens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        _enlarge(probe, wanted)
        granted = _granted(probe) // 2
    return granted if granted < wanted else 0


def stamp_arrivals(opened: socket.socket) -> None:
    """Have the kernel record each packet's arrival in ns, whoever holds the socket (socket(7), SO_TIMESTAMPNS)."""
    opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def send(descriptor: int, packet: bytes, target: tuple[str, int], connected: bool, here: str = "") -> None:
    """Send a datagram; raise OSError if the kernel refuses. A socket object would double the cost.

    It is sent from `here` if that is an address of this machine: the peer was told that address and accepts no other.
    """
    if not connected and here and (":" in here) == (":" in target[0]) and _leaves_elsewhere(target[0], here):
        return _send_from(descriptor, packet, target, here)
    name = b"" if connected else _name(*target)
    if _libc.sendto(descriptor, packet, len(packet), _DONTWAIT, name or None, len(name)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@lru_cache(MAX_WAYS)
def _leaves_elsewhere(peer: str, here: str) -> bool:
    """Return whether `here` is our address and the kernel would choose another one to send to this peer."""
    try:
        with socket.socket(_family(peer), socket.SOCK_DGRAM) as probe:
            probe.connect((peer, NO_MATTER))
            return pack_ip(probe.getsockname()[0]) != pack_ip(here) and is_ours(here)
    except OSError:
        return False


def _send_from(descriptor: int, packet: bytes, target: tuple[str, int], here: str) -> None:
    host, port = target
    packed = socket.inet_pton(_family(here), here)
    source = (
        (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed + bytes(4))
        if ":" in here
        else (socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + packed + bytes(4))
    )
    with socket.socket(fileno=os.dup(descriptor)) as own:
        mapped = own.family == socket.AF_INET6 and ":" not in host
        own.sendmsg([packet], [source], _DONTWAIT, (f"::ffff:{host}" if mapped else host, port))


def _name(host: str, port: int) -> bytes:
    """Return the socket address of an IP address; an IPv4 one also works for an IPv6 socket. OSError if it is none."""
    if ":" in host:
        packed = socket.inet_pton(socket.AF_INET6, host)
        return _NAME6.pack(socket.AF_INET6, port.to_bytes(2, "big"), 0, packed, 0)
    return _NAME4.pack(socket.AF_INET, port.to_bytes(2, "big"), socket.inet_pton(socket.AF_INET, host))


def connect(descriptor: int, name: bytes, here: str = "") -> bool:
    """Let the kernel drop packets from all but this socket address (from recvmsg); return False if it refuses.

    A connected socket that was bound to all addresses receives on one only: that of the route to the peer. If the
    peer was told another one (`here`), return False and keep receiving from everybody.
    """
    disconnect(descriptor)
    if here and _address_towards(descriptor, name) != pack_ip(here) and is_ours(here):
        return False
    return not _libc.connect(descriptor, name, len(name))


def _address_towards(descriptor: int, name: bytes) -> bytes:
    """Return the address on which a socket receives once it is connected to a peer; zeros if that is unknown.

    Another socket finds out: if this one were connected to see it, packets to any other address would be lost.
    """
    own = _own_address(descriptor)
    if any(own):
        return own
    try:
        with socket.socket(int.from_bytes(name[:2], sys.byteorder), socket.SOCK_DGRAM) as probe:
            _libc.connect(probe.fileno(), name, len(name))
            return _own_address(probe.fileno())
    except OSError:
        return own


def _own_address(descriptor: int) -> bytes:
    """Return the address on which a socket receives, IPv4-mapped as IPv4."""
    name = ctypes.create_string_buffer(128)
    _libc.getsockname(descriptor, name, ctypes.byref(ctypes.c_uint32(len(name))))
    if int.from_bytes(name.raw[:2], sys.byteorder) == socket.AF_INET:
        return name.raw[4:8]
    return unwrap(name.raw[8:24])


def is_ours(host: str) -> bool:
    """Return whether this machine has an address; the address of a NAT in front of it does not count.

    If that cannot be found out, return True: receiving from everybody loses nothing.
    """
    try:
        with socket.socket(_family(host), socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError as problem:
        return problem.errno != errno.EADDRNOTAVAIL
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def connected(descriptor: int) -> bool:
    """Return whether the socket receives from one peer only."""
    failed: int = _libc.getpeername(descriptor, _peer, ctypes.byref(ctypes.c_uint32(len(_peer))))
    return not failed


def disconnect(descriptor: int) -> None:
    """Let the socket receive from everybody again."""
    _libc.connect(descriptor, _NOBODY, len(_NOBODY))


def dropped(descriptor: int) -> int:
    """Return how many packets the kernel dropped for a full buffer (sock_diag(7), SK_MEMINFO_DROPS); 0: unknown."""
    words = (ctypes.c_uint32 * SK_MEMINFO_VARS)()
    size = ctypes.c_uint32(ctypes.sizeof(words))
    if _libc.getsockopt(descriptor, socket.SOL_SOCKET, SO_MEMINFO, words, ctypes.byref(size)):
        return 0
    return int(words[SK_MEMINFO_DROPS])


def widen(descriptor: int) -> None:
    """Enlarge the buffer of a flooded socket to 2 s of 20,000 packets/s, as far as permitted."""
    size = ctypes.c_int(FLOOD_BUFFER)
    for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
        if not _libc.setsockopt(descriptor, socket.SOL_SOCKET, option, ctypes.byref(size), ctypes.sizeof(size)):
            return


def _open(host: str, port: int, buffer: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            # all addresses includes IPv4, which then appears as ::ffff:192.0.2.1
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        stamp_arrivals(opened)
        _enlarge(opened, buffer)
        opened.bind((host, port))
    except OSError as problem:
        opened.close()
        raise SocketRefused(f"port {port}: {os.strerror(problem.errno or 0)}") from None
    return opened


def _enlarge(opened: socket.socket, size: int) -> None:
    """Exceed rmem_max if permitted (CAP_NET_ADMIN), else go up to it; Pair.buffer holds the granted size."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except OSError:
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _port(opened: socket.socket) -> int:
    name = opened.getsockname()
    return int(name[1]) if isinstance(name, tuple) else 0


_sizes: dict[int, int] = {}


def _granted(opened: socket.socket) -> int:
    size = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return _sizes.setdefault(size, size)  # a handful of sizes, one number each, shared by all sockets
