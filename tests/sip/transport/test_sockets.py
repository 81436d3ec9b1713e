"""The sockets under the server, with a server that only takes notes."""

import asyncio
import socket
import time
from contextlib import contextmanager
from typing import Any

import pytest

from sip.transport.server import open_socket
from sip.transport.sockets import DATAGRAMS_AT_ONCE, IP_PKTINFO, Datagrams, certificate_names, local_address_of
from tests.sip.socket_client import in_loop


class Notes:
    """Take notes of what links report."""

    def __init__(self):
        self.data, self.flows = [], []
        self.came = asyncio.Event()

    def admits(self, flow):
        return True

    def received(self, data, flow):
        self.data.append(data)
        self.flows.append(flow)
        self.came.set()

    def unsent(self, flow):
        self.data.append(flow.remote)

    async def heard(self):
        """Wait for what comes next; give its flow."""
        await asyncio.wait_for(self.came.wait(), 30)
        self.came.clear()
        return self.flows[-1]


@contextmanager
def listening(host="0.0.0.0", own: Any = None):
    """Listen on UDP on all addresses, and have a client of this machine."""
    notes: Any = Notes()
    own = own or open_socket("udp", host, 0)
    links = Datagrams(notes, 4, own)
    links.open()
    with socket.socket(own.family, socket.SOCK_DGRAM) as mine:
        mine.bind(("::1" if ":" in host else "127.0.0.1", 0))
        mine.settimeout(30)
        yield notes, links, mine, own.getsockname()[1]
    links.close()


@in_loop
async def test_a_wildcard_socket_answers_from_the_address_asked():
    """RFC 3581 section 4: who asked 127.0.0.5 hears nobody else."""
    with listening() as (notes, links, mine, port):
        mine.connect(("127.0.0.5", port))
        mine.send(b"hello")
        flow = await notes.heard()
        assert (flow.local, flow.listener) == (("127.0.0.5", port), 4)
        links.put(b"back", flow.remote, flow.local[0])
        assert mine.recv(100) == b"back"


@in_loop
async def test_over_ipv6_the_address_that_was_asked_is_known_as_well():
    with listening("::") as (notes, links, mine, port):
        mine.sendto(b"hello", ("::1", port))
        flow = await notes.heard()
        links.put(b"back", flow.remote, flow.local[0])
        assert mine.recv(100) == b"back"
        assert flow.local[0] == "::1"


@in_loop
async def test_an_address_gone_from_this_machine_blocks_no_answer():
    with listening() as (_, links, mine, _):
        for here in ("192.0.2.1", "no address", ""):
            links.put(b"back", mine.getsockname(), here)
            assert mine.recv(100) == b"back"


def test_a_multicast_address_is_never_answered_from():
    four, six = (socket.IPPROTO_IP, IP_PKTINFO), (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
    assert local_address_of([]) == ""
    assert local_address_of([(*four, bytes(8) + b"\xe0\0\0\1")]) == ""
    for host in ("ff02::1", "fe80::1"):
        assert local_address_of([(*six, socket.inet_pton(socket.AF_INET6, host) + bytes(4))]) == ""
    assert local_address_of([(socket.SOL_SOCKET, 1, b""), (*four, bytes(4) + b"\x7f\0\0\5" * 2)]) == "127.0.0.5"


@in_loop
async def test_a_burst_comes_whole_in_order_and_a_few_at_a_time():
    with listening() as (notes, links, mine, port):
        burst = [str(number).encode() * 50 for number in range(DATAGRAMS_AT_ONCE + 3)]
        for data in burst:
            mine.sendto(data, ("127.0.0.1", port))
        end = time.monotonic() + 30
        while notes.data != burst and time.monotonic() < end:  # a busy kernel delivers some later than they were sent
            before = len(notes.data)
            links.readable()
            assert notes.data == burst[: len(notes.data)] and len(notes.data) <= before + DATAGRAMS_AT_ONCE
        links.readable()
        assert notes.data == burst


class Reluctant:
    """A socket that fails as long as it has an error to raise."""

    def __init__(self, *errors: type[OSError]):
        self.own, self.errors, self.sent = open_socket("udp", "0.0.0.0", 0), list(errors), []

    def sendto(self, data, remote):
        if self.errors:
            raise self.errors.pop()
        self.sent.append(data)

    def __getattr__(self, name):
        return getattr(self.own, name)


@in_loop
async def test_datagrams_a_full_kernel_refuses_are_sent_later():
    full = Reluctant(BlockingIOError, BlockingIOError)
    with listening(own=full) as (_, links, _, _):
        for data in (b"1", b"2", b"3"):
            links.put(data, ("127.0.0.1", 9))
        links.flush()
        assert full.sent == []
        links.put(b"4", ("127.0.0.1", 9))
        async with asyncio.timeout(30):
            while len(full.sent) < 4:
                await asyncio.sleep(0)
        links.put(b"5", ("127.0.0.1", 9))
        assert full.sent == [b"1", b"2", b"3", b"4", b"5"]


@in_loop
async def test_the_news_of_a_closed_port_costs_no_datagram():
    """The first try may only bring the failure of an earlier datagram."""
    refused = Reluctant(ConnectionRefusedError)
    with listening(own=refused) as (_, links, _, _):
        links.put(b"1", ("127.0.0.1", 9))
        assert refused.sent == [b"1"]


@in_loop
async def test_a_message_too_long_for_a_datagram_is_reported():
    with listening() as (notes, links, mine, _):
        links.put(bytes(65_508), mine.getsockname())
        links.put(b"short", mine.getsockname())
        assert notes.data == [mine.getsockname()]
        assert mine.recv(100) == b"short"


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        ("DNS", "SBC1.acme.example", "sbc1.acme.example"),
        ("DNS", "192.0.2.1", None),
        ("URI", "sbc1.acme.example", None),
        ("URI", "192.0.2.1", None),
        ("URI", "https://sbc1.acme.example", None),
        ("URI", "sip:SBC1.acme.example", "sip:sbc1.acme.example"),
        ("IP Address", "192.0.2.1", "192.0.2.1"),
        ("IP Address", "2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("email", "sbc1@acme.example", None),
    ],
)
def test_a_name_in_a_certificate_counts_as_its_own_kind_only(kind, value, name):
    """RFC 5922 section 7.1."""

    class Tls:
        def getpeercert(self):
            return {"subjectAltName": ((kind, value),)}

    found: Any = Tls()
    assert certificate_names(found) == (() if name is None else (name,))
