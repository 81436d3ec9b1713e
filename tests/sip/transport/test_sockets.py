"""The sockets under the server, with a server that only takes notes."""

from __future__ import annotations

import asyncio
import socket

from sip.transport.server import open_socket
from sip.transport.sockets import (
    DATAGRAMS_AT_ONCE,
    IP_PKTINFO,
    Connection,
    Datagrams,
    certificate_names,
    local_address_of,
)


class Notes:
    """Take notes of what links report."""

    def __init__(self):
        self.data, self.flows, self.number = [], [], 0
        self.came = asyncio.Event()

    def admits(self, flow):
        return True

    def received(self, data, flow):
        self.data.append(data)
        self.flows.append(flow)
        self.came.set()

    def unsent(self, flow):
        self.data.append(flow.remote)

    def connected(self, connection):
        return True

    def read(self, data, flow):
        self.received(data, flow)

    def disconnected(self, connection):
        self.data.append(None)
        self.came.set()

    def names_of(self, tls):
        return certificate_names(tls)

    def next_number(self):
        self.number += 1
        return self.number


def listening_on_all(notes):
    own = open_socket("udp", "0.0.0.0", 0)
    links = Datagrams(notes, 4, own)
    links.open()
    return links, own.getsockname()[1]


def test_a_wildcard_socket_names_the_address_reached():
    async def story():
        notes = Notes()
        links, port = listening_on_all(notes)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.sendto(b"hello", ("127.0.0.1", port))
            await asyncio.wait_for(notes.came.wait(), 30)
            links.put(b"back", mine.getsockname())
            mine.settimeout(30)
            assert mine.recv(100) == b"back"
        assert (notes.flows[0].local, notes.flows[0].listener) == (("127.0.0.1", port), 4)
        links.close()

    asyncio.run(story())


def test_a_wildcard_socket_answers_from_the_address_asked():
    """RFC 3581 section 4: who asked 127.0.0.5 hears nobody else."""

    async def story():
        notes = Notes()
        links, port = listening_on_all(notes)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.bind(("127.0.0.1", 0))
            mine.connect(("127.0.0.5", port))
            mine.settimeout(30)
            mine.send(b"hello")
            await asyncio.wait_for(notes.came.wait(), 30)
            flow = notes.flows[0]
            assert flow.local == ("127.0.0.5", port)
            links.put(b"back", flow.remote, flow.local[0])
            assert mine.recv(100) == b"back"
        links.close()

    asyncio.run(story())


def test_over_ipv6_the_address_that_was_asked_is_known_as_well():
    async def story():
        notes, own = Notes(), open_socket("udp", "::", 0)
        links = Datagrams(notes, 4, own)
        links.open()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as mine:
            mine.settimeout(30)
            mine.sendto(b"hello", ("::1", own.getsockname()[1]))
            await asyncio.wait_for(notes.came.wait(), 30)
            links.put(b"back", notes.flows[0].remote, notes.flows[0].local[0])
            assert mine.recv(100) == b"back"
        assert notes.flows[0].local[0] == "::1"
        links.close()

    asyncio.run(story())


def test_an_address_gone_from_this_machine_blocks_no_answer():
    async def story():
        links, _ = listening_on_all(Notes())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.bind(("127.0.0.1", 0))
            mine.settimeout(30)
            for here in ("192.0.2.1", "no address", ""):
                links.put(b"back", mine.getsockname(), here)
                assert mine.recv(100) == b"back"
        links.close()

    asyncio.run(story())


def test_a_multicast_address_is_never_answered_from():
    four, six = (socket.IPPROTO_IP, IP_PKTINFO), (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
    assert local_address_of([]) == ""
    assert local_address_of([(*four, bytes(8) + b"\xe0\0\0\1")]) == ""
    for host in ("ff02::1", "fe80::1"):
        assert local_address_of([(*six, socket.inet_pton(socket.AF_INET6, host) + bytes(4))]) == ""
    assert local_address_of([(socket.SOL_SOCKET, 1, b""), (*four, bytes(4) + b"\x7f\0\0\5" * 2)]) == "127.0.0.5"


def test_a_burst_comes_whole_in_order_and_a_few_at_a_time():
    async def story():
        notes = Notes()
        links, port = listening_on_all(notes)
        burst = [str(number).encode() * 50 for number in range(DATAGRAMS_AT_ONCE + 3)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            for data in burst:
                mine.sendto(data, ("127.0.0.1", port))
            links.readable()
            assert notes.data == burst[:DATAGRAMS_AT_ONCE]
            links.readable()
            assert notes.data == burst
            links.readable()
        links.close()

    asyncio.run(story())


class Full:
    """A socket without room in the kernel until there is some."""

    def __init__(self, own):
        self.own, self.full, self.sent = own, True, []

    def sendto(self, data, remote):
        if self.full:
            raise BlockingIOError
        self.sent.append(data)

    def __getattr__(self, name):
        return getattr(self.own, name)


def test_datagrams_a_full_kernel_refuses_are_sent_later():
    async def story():
        links, _ = listening_on_all(Notes())
        links._socket = full = Full(links._socket)
        for data in (b"1", b"2", b"3"):
            links.put(data, ("127.0.0.1", 9))
        links.flush()
        assert full.sent == []
        full.full = False
        links.put(b"4", ("127.0.0.1", 9))
        assert full.sent == []
        while len(full.sent) < 4:
            await asyncio.sleep(0)
        links.put(b"5", ("127.0.0.1", 9))
        assert full.sent == [b"1", b"2", b"3", b"4", b"5"]
        links.close()

    asyncio.run(asyncio.wait_for(story(), 30))


class Refused(Full):
    """A socket whose first try only brings the news of an earlier datagram."""

    def sendto(self, data, remote):
        if self.full:
            self.full = False
            raise ConnectionRefusedError
        self.sent.append(data)


def test_the_news_of_a_closed_port_costs_no_datagram():
    async def story():
        links, _ = listening_on_all(Notes())
        links._socket = refused = Refused(links._socket)
        links.put(b"1", ("127.0.0.1", 9))
        links.put(b"2", ("127.0.0.1", 9))
        assert refused.sent == [b"1", b"2"]
        links.close()

    asyncio.run(story())


def test_streams_have_no_delay_and_report_their_end():
    async def story():
        notes = Notes()
        listening = open_socket("tcp", "127.0.0.1", 0)
        assert listening.proto == socket.IPPROTO_TCP
        made = []

        def factory():
            made.append(Connection(notes, 2, "tcp"))
            return made[-1]

        server = await asyncio.get_running_loop().create_server(factory, sock=listening)
        _, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"hello")
        await asyncio.wait_for(notes.came.wait(), 30)
        assert made[0].transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert (made[0].flow.connection, made[0].flow.listener) == (1, 2)
        notes.came.clear()
        writer.close()
        await asyncio.wait_for(notes.came.wait(), 30)
        assert notes.data == [b"hello", None]
        server.close()

    asyncio.run(story())


def test_without_tls_there_are_no_names():
    assert certificate_names(None) == ()


def test_a_message_too_long_for_a_datagram_is_reported():
    async def story():
        notes = Notes()
        links, _ = listening_on_all(notes)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.bind(("127.0.0.1", 0))
            mine.settimeout(30)
            links.put(bytes(65_508), mine.getsockname())
            links.put(b"short", mine.getsockname())
            assert notes.data == [mine.getsockname()]
            assert mine.recv(100) == b"short"
        links.close()

    asyncio.run(story())
