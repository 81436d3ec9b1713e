"""The sockets under the server, with a server that only takes notes."""

from __future__ import annotations

import asyncio
import socket

import asyncio_dgram

from sip.links import Connection, Datagrams, certificate_names
from sip.server import open_socket


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

    def connected(self, connection):
        return True

    def read(self, data, flow):
        self.received(data, flow)

    def disconnected(self, connection):
        self.data.append(None)
        self.came.set()

    def next_number(self):
        self.number += 1
        return self.number


def test_a_socket_bound_to_all_names_the_address_the_peer_reached():
    async def story():
        notes = Notes()
        listening = open_socket("udp", "0.0.0.0", 0)
        links = Datagrams(notes, 4, await asyncio_dgram.from_socket(listening), listening)
        task = asyncio.create_task(links.receive())
        port = listening.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.sendto(b"hello", ("127.0.0.1", port))
            await asyncio.wait_for(notes.came.wait(), 5)
            links.put(b"back", mine.getsockname())
            mine.settimeout(5)
            await links.flush()
            assert mine.recv(100) == b"back"
        assert (notes.flows[0].local, notes.flows[0].listener) == (("127.0.0.1", port), 4)
        links.close()
        await asyncio.wait_for(task, 5)

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
        await asyncio.wait_for(notes.came.wait(), 5)
        assert made[0].transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert (made[0].flow.connection, made[0].flow.listener) == (1, 2)
        notes.came.clear()
        writer.close()
        await asyncio.wait_for(notes.came.wait(), 5)
        assert notes.data == [b"hello", None]
        server.close()

    asyncio.run(story())


def test_without_tls_there_are_no_names():
    assert certificate_names(None) == ()
