"""Sockets of a stream: pairs of ports, arrival times from the kernel, and connections that are made and dissolved."""

import errno
import os
import random
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from media.errors import SocketRefused
from media.receive import sockets


@pytest.fixture
def opened() -> Iterator[Callable[..., sockets.Pair]]:
    """Open a pair on free ports of a host, which is closed at the end."""
    with ExitStack() as stack:

        def open_one(host: str = "127.0.0.1", rtcp: bool = True) -> sockets.Pair:
            while True:
                try:
                    pair = sockets.open_pair(host, random.randrange(30000, 60000, 2), rtcp)
                except SocketRefused:
                    continue
                stack.callback(pair.close)
                return pair

        yield open_one


@pytest.fixture
def pair(opened: Callable[..., sockets.Pair]) -> sockets.Pair:
    return opened()


@pytest.fixture
def friend() -> Iterator[socket.socket]:
    with peer() as made:
        made.settimeout(30)
        yield made


def peer() -> socket.socket:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("127.0.0.1", 0))
    return sender


def name(sender: socket.socket) -> bytes:
    host, port = sender.getsockname()
    return struct.pack("=H", socket.AF_INET) + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)


def heard(pair: sockets.Pair, count: int = 1) -> list[bytes]:
    """Return all that has come, once it is so much: a busy kernel delivers a datagram later than it was sent."""
    out, end = list[bytes](), time.monotonic() + 30
    while True:
        try:
            out.append(pair.rtp.recv(100))
        except BlockingIOError:
            if len(out) >= count or time.monotonic() > end:
                return out
            time.sleep(0.001)


def test_a_socket_pair_has_two_adjacent_free_ports(pair: sockets.Pair) -> None:
    assert pair.rtcp is not None
    assert pair.rtcp.getsockname()[1] == pair.port + 1
    with pytest.raises(SocketRefused):
        sockets.open_pair("127.0.0.1", pair.port)
    port = pair.port
    pair.rtp.close()
    with pytest.raises(SocketRefused):
        sockets.open_pair("127.0.0.1", port)  # the upper one is still taken
    pair.rtcp.close()
    sockets.open_pair("127.0.0.1", port).close()


def test_a_connected_socket_hears_only_one_sender(pair: sockets.Pair, friend: socket.socket) -> None:
    stranger = peer()
    assert (sockets.connected(pair.rtp.fileno()), pair.peer) == (False, None)
    assert sockets.connect(pair.rtp.fileno(), name(friend))
    assert (sockets.connected(pair.rtp.fileno()), pair.peer) == (True, friend.getsockname())
    for sender in (stranger, friend):
        sender.sendto((sender is friend and b"friend") or b"stranger", ("127.0.0.1", pair.port))
    assert heard(pair) == [b"friend"]
    sockets.disconnect(pair.rtp.fileno())
    assert (sockets.connected(pair.rtp.fileno()), pair.peer) == (False, None)
    stranger.sendto(b"stranger", ("127.0.0.1", pair.port))
    assert heard(pair) == [b"stranger"]
    stranger.close()


def test_all_addresses_of_ipv6_are_those_of_ipv4_as_well(
    opened: Callable[..., sockets.Pair], friend: socket.socket
) -> None:
    pair = opened("::")
    friend.sendto(b"four", ("127.0.0.1", pair.port))
    assert heard(pair) == [b"four"]
    sockets.send(pair.rtp.fileno(), b"back", friend.getsockname(), False)
    assert friend.recvfrom(100) == (b"back", ("127.0.0.1", pair.port))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        six.sendto(b"six", ("::1", pair.port))
        assert heard(pair) == [b"six"]


def test_a_datagram_is_sent_without_a_name_lookup(
    opened: Callable[..., sockets.Pair], pair: sockets.Pair, friend: socket.socket
) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        six.bind(("::1", 0))
        six.settimeout(30)
        wide = opened("::1")
        sockets.send(wide.rtp.fileno(), b"six", ("::1", six.getsockname()[1]), False)
        assert six.recvfrom(100) == (b"six", ("::1", wide.port, 0, 0))
    assert sockets.connect(pair.rtp.fileno(), name(friend))
    sockets.send(pair.rtp.fileno(), b"peer", ("192.0.2.1", 9), True)
    assert friend.recv(100) == b"peer"
    for host in ("localhost", "::1", "127.0.0.256"):
        with pytest.raises(OSError):
            sockets.send(pair.rtp.fileno(), b"nobody", (host, 9), False)


def test_sockets_are_adopted_and_other_descriptors_refused(pair: sockets.Pair) -> None:
    taken = sockets.Pair.adopt([os.dup(fd) for fd in pair.filenos()])
    assert (taken.port, len(taken.filenos()), taken.buffer) == (pair.port, 2, pair.buffer)
    bare = sockets.Pair.adopt([socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()])
    for each in (taken.rtp, taken.rtcp, bare.rtp):  # every one has the kernel note arrivals
        assert each and each.getsockopt(socket.SOL_SOCKET, sockets.SO_TIMESTAMPNS) == 1
    taken.close()
    bare.close()
    read, write = os.pipe()
    with pytest.raises(SocketRefused):
        sockets.Pair.adopt([read])
    os.close(read)
    os.close(write)


def test_a_wildcard_socket_is_not_connected_past_its_address(
    opened: Callable[..., sockets.Pair], friend: socket.socket
) -> None:
    """By the routes packets to a peer on 127.0.0.1 leave from 127.0.0.1, and there alone it would hear."""
    pair = opened("0.0.0.0")
    assert not sockets.connect(pair.rtp.fileno(), name(friend), "127.0.0.5")
    friend.sendto(b"told", ("127.0.0.5", pair.port))
    assert heard(pair) == [b"told"]
    for here in ("127.0.0.1", "192.0.2.1", ""):  # the route's own, one that a NAT has, one that nobody knows
        assert sockets.connect(pair.rtp.fileno(), name(friend), here)


def test_finding_out_where_to_connect_loses_no_packet(
    opened: Callable[..., sockets.Pair], friend: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer sends to another address than that of the route, at the moment of the decision."""
    pair = opened("0.0.0.0")

    def sending(here: str) -> bool:
        friend.sendto(b"audio", (here, pair.port))
        return True

    monkeypatch.setattr(sockets, "is_ours", sending)
    assert not sockets.connect(pair.rtp.fileno(), name(friend), "127.0.0.5")
    assert heard(pair) == [b"audio"]


def test_an_ipv6_socket_is_not_connected_past_an_ipv4_address(
    opened: Callable[..., sockets.Pair], friend: socket.socket
) -> None:
    pair = opened("::")
    mapped = struct.pack("=H", socket.AF_INET6) + name(friend)[2:4] + bytes(4 + 10) + b"\xff\xff\x7f\0\0\x01" + bytes(4)
    assert not sockets.connect(pair.rtp.fileno(), mapped, "127.0.0.5")
    assert sockets.connect(pair.rtp.fileno(), mapped, "127.0.0.1")


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])
def test_a_report_leaves_from_the_given_address(
    opened: Callable[..., sockets.Pair], friend: socket.socket, bound: str
) -> None:
    pair = opened(bound)
    for here, source in (
        ("127.0.0.5", "127.0.0.5"),
        ("192.0.2.1", "127.0.0.1"),
        ("::1", "127.0.0.1"),
        ("", "127.0.0.1"),
    ):
        sockets.send(pair.rtp.fileno(), b"report", friend.getsockname(), False, here)
        assert friend.recvfrom(100) == (b"report", (source, pair.port))


def test_without_a_descriptor_to_find_out_everybody_is_heard(
    opened: Callable[..., sockets.Pair], friend: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    pair = opened("0.0.0.0")
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", none_left)
        assert not sockets.connect(pair.rtp.fileno(), name(friend), "127.0.0.77")
        sockets.send(pair.rtp.fileno(), b"report", friend.getsockname(), False, "127.0.0.77")
    assert friend.recv(100) == b"report"


def test_an_ipv6_report_leaves_from_the_given_address(opened: Callable[..., sockets.Pair]) -> None:
    pair = opened("::")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as friend:
        friend.bind(("::1", 0))
        friend.settimeout(30)
        sockets._send_from(pair.rtp.fileno(), b"report", friend.getsockname()[:2], "::1")
        assert friend.recvfrom(100)[1][:2] == ("::1", pair.port)


@pytest.mark.parametrize(("size", "packets"), [(182, 5 * 50), (1262, 5 * 200)])
def test_five_seconds_of_every_stream_survive_a_stall(
    opened: Callable[..., sockets.Pair], friend: socket.socket, size: int, packets: int
) -> None:
    """Of G.711, and of video of 2 Mbit/s; where the kernel gives less, it is said."""
    pair = opened(rtcp=False)
    for _ in range(packets):
        friend.sendto(bytes(size), ("127.0.0.1", pair.port))
    assert select.select([pair.rtp], [], [], 30)[0]
    _, ancillary, _, _ = pair.rtp.recvmsg(2000, 100)
    assert [(level, kind) for level, kind, _ in ancillary] == [(socket.SOL_SOCKET, sockets.SO_TIMESTAMPNS)]
    assert sockets.refused_buffer("127.0.0.1") or len(heard(pair, packets - 1)) == packets - 1
