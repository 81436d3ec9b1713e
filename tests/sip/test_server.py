"""The server on real sockets of this machine: UDP, TCP, TLS."""

from __future__ import annotations

import asyncio
import datetime
import functools
import os
import socket
import ssl
import time
from contextlib import asynccontextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sip import server
from sip.endpoint import Endpoint
from sip.events import Closed, Dropped, HungUp, Invited, Send
from sip.server import Listener, Server, open_socket, vouched
from sip.settings import Settings
from sip.values import Flow
from tests.sip.story import ANSWER, Story

HOST = "127.0.0.1"


def in_loop(test):
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args, **kw):
        asyncio.run(test(*args, **kw))

    return run


def certificate(folder, name):
    """Make a throw-away certificate that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


class Daemon:
    """A user of the server that accepts every call and confirms every BYE."""

    def __init__(self, transport, *, host=HOST, context=None, admits=lambda flow: True, client=None,
                 known=lambda flow: True, **settings):  # fmt: skip
        knobs = Settings(**settings)
        self.endpoint = Endpoint(knobs, random=os.urandom)
        self.events = []
        self.server = Server(
            self.endpoint, self.heard, admits, clock=time.monotonic, settings=knobs, client_context=client, known=known
        )
        self.socket = open_socket(transport, host, 0)
        self.address = self.socket.getsockname()[:2]
        self.listener = Listener(transport, self.socket, context)
        self.seen = asyncio.Event()

    def heard(self, event):
        self.events.append(event)
        self.seen.set()
        if isinstance(event, Invited):
            self.endpoint.accept(event.token, ANSWER, time.monotonic())
        if isinstance(event, HungUp):
            self.endpoint.confirm(event.token, time.monotonic())

    async def wait_for(self, kind):
        async with asyncio.timeout(5):
            while not any(isinstance(event, kind) for event in self.events):
                self.seen.clear()
                await self.seen.wait()


@asynccontextmanager
async def running(*args, **kw):
    daemon = Daemon(*args, **kw)
    await daemon.server.start([daemon.listener])
    try:
        yield daemon
    finally:
        await daemon.server.close()


async def message(reader):
    """Read one message of a stream."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    length = int(head.lower().split(b"content-length:")[1].split()[0])
    return head + await asyncio.wait_for(reader.readexactly(length), 5)


async def call_over(daemon, reader, writer, transport):
    """Place a call on a stream and hang up."""
    port = writer.get_extra_info("sockname")[1]
    story = Story(Flow(transport, daemon.address, (HOST, port), 1))
    writer.write(story.invite())
    answer = await message(reader)
    assert answer.startswith(b"SIP/2.0 200")
    assert f"transport={transport}>;+sip.srs".encode() in answer
    story.to = next(line[4:] for line in answer.decode().split("\r\n") if line.startswith("To: "))
    writer.write(story.request("ACK") + story.request("BYE"))
    assert (await message(reader)).startswith(b"SIP/2.0 200")
    await daemon.wait_for(Closed)


@in_loop
async def test_a_call_over_udp():
    async with running("udp") as daemon:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.setblocking(False)
            mine.bind((HOST, 0))
            story = Story(Flow("udp", daemon.address, mine.getsockname()))
            mine.sendto(story.invite(), daemon.address)
            answer = await asyncio.wait_for(loop.sock_recv(mine, 65535), 5)
            assert answer.startswith(b"SIP/2.0 200")
            assert f"<sip:{HOST}:{daemon.address[1]};transport=udp>;+sip.srs".encode() in answer
            mine.sendto(story.request("OPTIONS"), daemon.address)
            assert (await asyncio.wait_for(loop.sock_recv(mine, 65535), 5)).startswith(b"SIP/2.0 200")


@in_loop
async def test_the_largest_datagram_is_taken():
    """Duty S22."""
    async with running("udp") as daemon:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.setblocking(False)
            mine.bind((HOST, 0))
            story = Story(Flow("udp", daemon.address, mine.getsockname()))
            data = story.request("OPTIONS", "X-Pad: " + "x" * 60_000)
            mine.sendto(data, daemon.address)
            assert (await asyncio.wait_for(loop.sock_recv(mine, 65535), 5)).startswith(b"SIP/2.0 200")


@in_loop
async def test_a_stranger_on_udp_gets_silence():
    async with running("udp", admits=lambda flow: False) as daemon:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.setblocking(False)
            mine.bind((HOST, 0))
            mine.sendto(Story().request("OPTIONS"), daemon.address)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_recv(mine, 65535), 0.2)
        assert [event.reason for event in daemon.events] == ["source"]


@in_loop
async def test_a_call_over_tcp():
    async with running("tcp") as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        await call_over(daemon, reader, writer, "tcp")
        writer.close()


@in_loop
async def test_a_stranger_on_tcp_is_closed_at_once():
    async with running("tcp", admits=lambda flow: False) as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            if await asyncio.wait_for(reader.read(1), 5) == b"":
                raise ConnectionResetError
        assert [event.reason for event in daemon.events] == ["source"]
        writer.close()


@in_loop
async def test_somebody_nobody_knows_gets_one_answer_and_no_connection_s29(monkeypatch):
    monkeypatch.setattr(server, "STRANGER_SECONDS", 0.1)
    async with running("tcp", known=lambda flow: False) as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        port = writer.get_extra_info("sockname")[1]
        story = Story(Flow("tcp", daemon.address, (HOST, port), 1))
        writer.write(story.request("OPTIONS") + story.request("OPTIONS"))
        assert (await message(reader)).startswith(b"SIP/2.0 200")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        silent, other = await asyncio.open_connection(*daemon.address)
        assert await asyncio.wait_for(silent.read(), 5) == b""
        writer.close()
        other.close()


@in_loop
async def test_one_source_cannot_take_all_connections():
    """Duty S29."""
    async with running("tcp", max_connections_per_peer=1) as daemon:
        first = await asyncio.open_connection(*daemon.address)
        second = await asyncio.open_connection(*daemon.address)
        await daemon.wait_for(Dropped)
        assert daemon.events[0].reason == "too-many-connections"
        first[1].close()
        second[1].close()


@in_loop
async def test_a_call_over_tls_with_a_client_certificate(tmp_path):
    """Duty R31."""
    ours, theirs = certificate(tmp_path, "recorder.example"), certificate(tmp_path, "sbc1.acme.example")

    def context():
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(ours)
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(theirs)
        return made

    client = ssl.create_default_context(cafile=str(ours))
    client.load_cert_chain(theirs)
    async with running("tls", context=context) as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address, ssl=client, server_hostname="recorder.example")
        await call_over(daemon, reader, writer, "tls")
        (invited,) = [event for event in daemon.events if isinstance(event, Invited)]
        assert invited.flow.certificate_names == ("sbc1.acme.example",)
        writer.close()
        await writer.wait_closed()


@in_loop
async def test_a_bug_in_looking_at_a_certificate_lets_nobody_in_by_it(tmp_path):
    ours, theirs = certificate(tmp_path, "recorder.example"), certificate(tmp_path, "sbc1.acme.example")

    def context():
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(ours)
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(theirs)
        return made

    def faulty(data, names):
        raise RuntimeError

    client = ssl.create_default_context(cafile=str(ours))
    client.load_cert_chain(theirs)
    async with running("tls", context=context) as daemon:
        daemon.server._vouch = faulty
        reader, writer = await asyncio.open_connection(*daemon.address, ssl=client, server_hostname="recorder.example")
        await call_over(daemon, reader, writer, "tls")
        (invited,) = [event for event in daemon.events if isinstance(event, Invited)]
        assert invited.flow.certificate_names == ()
        assert [event.reason for event in daemon.events if isinstance(event, Dropped)] == ["internal"]
        writer.close()
        await writer.wait_closed()


@in_loop
async def test_a_tls_client_without_a_certificate_is_turned_away(tmp_path):
    """Duty R31."""
    ours = certificate(tmp_path, "recorder.example")

    def context():
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(ours)
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(ours)
        return made

    client = ssl.create_default_context(cafile=str(ours))
    async with running("tls", context=context) as daemon:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            reader, writer = await asyncio.open_connection(
                *daemon.address, ssl=client, server_hostname="recorder.example"
            )
            writer.write(Story().request("OPTIONS"))
            if not await asyncio.wait_for(reader.read(1), 5):
                raise ConnectionResetError
        await daemon.wait_for(Dropped)
        assert [event.reason for event in daemon.events] == ["tls-handshake"]


@in_loop
async def test_what_is_no_tls_is_told_and_one_source_cannot_take_all_handshakes(tmp_path):
    ours = certificate(tmp_path, "recorder.example")

    def context():
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(ours)
        return made

    async with running("tls", context=context, max_connections_per_peer=1) as daemon:
        _, first = await asyncio.open_connection(*daemon.address)
        _, second = await asyncio.open_connection(*daemon.address)
        await daemon.wait_for(Dropped)
        first.write(b"OPTIONS sip:rec SIP/2.0\r\n\r\n")
        async with asyncio.timeout(5):
            while len(daemon.events) < 2:
                await asyncio.sleep(0.01)
        assert [event.reason for event in daemon.events] == ["too-many-connections", "tls-handshake"]
        assert {event.flow.remote[0] for event in daemon.events} == {HOST}
        for writer in (first, second):
            writer.close()


@in_loop
async def test_our_bye_opens_a_connection_where_the_old_one_is_gone():
    """Duty S23."""
    async with running("tcp") as daemon:
        heard = asyncio.get_running_loop().create_future()

        async def answer(reader, writer):
            heard.set_result(await message(reader))
            writer.close()

        target = await asyncio.start_server(answer, HOST, 0)
        port = target.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(*daemon.address)
        story = Story(Flow("tcp", daemon.address, writer.get_extra_info("sockname"), 1))
        writer.write(story.invite(contact=f"<sip:sbc@{HOST}:{port};transport=tcp>;+sip.src"))
        answered = await message(reader)
        story.to = next(line[4:] for line in answered.decode().split("\r\n") if line.startswith("To: "))
        writer.write(story.request("ACK"))
        writer.write(b"\r\n\r\n")
        assert await asyncio.wait_for(reader.readexactly(2), 5) == b"\r\n"
        writer.close()
        await writer.wait_closed()
        while daemon.server._connections:
            await asyncio.sleep(0)
        (session,) = daemon.endpoint.sessions()
        daemon.endpoint.hang_up(session, "", time.monotonic())
        daemon.server.flush()
        assert (await asyncio.wait_for(heard, 5)).startswith(b"BYE ")
        target.close()


@in_loop
async def test_a_connection_of_ours_that_is_not_taken_up_is_lost_and_the_next_request_tries_again():
    async with running("tcp", max_connections_per_peer=1) as daemon:
        heard = asyncio.Queue()

        async def answer(reader, writer):
            heard.put_nowait(await reader.read(100))
            writer.close()

        target = await asyncio.start_server(answer, HOST, 0)
        flow = Flow("tcp", daemon.address, target.sockets[0].getsockname()[:2], 0, 0)
        lost = []
        daemon.endpoint.connection_lost = lambda flow, now: lost.append(flow)
        _, writer = await asyncio.open_connection(*daemon.address)
        while not daemon.server._connections:
            await asyncio.sleep(0)
        daemon.server._send(Send(flow, b"one"))
        assert await asyncio.wait_for(heard.get(), 5) == b""
        async with asyncio.timeout(5):
            while not lost:
                await asyncio.sleep(0.01)
            assert lost == [flow]
            writer.close()
            while daemon.server._connections:
                await asyncio.sleep(0.01)
        daemon.server._send(Send(flow, b"two"))
        assert await asyncio.wait_for(heard.get(), 5) == b"two"
        target.close()


@in_loop
async def test_a_bug_of_the_user_is_counted_and_kills_nothing():
    async with running("udp") as daemon:
        plain = daemon.server._on_event

        def faulty(event):
            plain(event)
            if isinstance(event, Invited):
                raise RuntimeError

        daemon.server._on_event = faulty
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.setblocking(False)
            mine.bind((HOST, 0))
            story = Story(Flow("udp", daemon.address, mine.getsockname()))
            mine.sendto(story.invite(), daemon.address)
            assert (await asyncio.wait_for(loop.sock_recv(mine, 65535), 5)).startswith(b"SIP/2.0 200")
        assert Dropped(None, "internal") in daemon.events


@in_loop
async def test_the_clock_of_the_endpoint_is_followed():
    async with running("tcp", first_message_timeout=0.05) as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        assert await asyncio.wait_for(reader.read(1), 5) == b""
        assert daemon.events[0].reason == "silent-connection"
        writer.close()


@in_loop
async def test_a_call_over_ipv6_s32():
    async with running("tcp", host="::1") as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        story = Story(Flow("tcp", daemon.address, ("[::1]", writer.get_extra_info("sockname")[1]), 1))
        writer.write(story.invite())
        answer = await message(reader)
        assert answer.startswith(b"SIP/2.0 200")
        assert f"Contact: <sip:[::1]:{daemon.address[1]};transport=tcp>;+sip.srs\r\n".encode() in answer
        assert b";received=::1" in answer
        writer.close()
    async with running("udp", host="::1") as daemon:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as mine:
            mine.setblocking(False)
            mine.bind(("::1", 0))
            story = Story(Flow("udp", daemon.address, ("[::1]", mine.getsockname()[1])))
            mine.sendto(story.request("OPTIONS"), daemon.address)
            assert (await asyncio.wait_for(loop.sock_recv(mine, 65535), 5)).startswith(b"SIP/2.0 200")


def test_a_connection_of_ours_is_only_used_with_whom_the_dialog_is_s23():
    asked = Flow("tls", ("192.0.2.10", 5061), ("192.0.2.1", 5061), 0, 0, ("sbc1.example",))
    right = Flow("tls", ("192.0.2.10", 5061), ("192.0.2.1", 5061), 7, 0, ("other.example", "sbc1.example"))
    wrong = Flow("tls", ("192.0.2.10", 5061), ("192.0.2.1", 5061), 7, 0, ("evil.example",))
    assert (vouched(asked, right), vouched(asked, wrong)) == (True, False)
    nameless = Flow("tls", ("192.0.2.10", 5061), ("192.0.2.1", 5061), 0, 0)
    assert vouched(nameless, wrong)


def test_a_message_that_no_datagram_holds_is_told():
    told, flow = [], Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 5070))
    server = Server(Endpoint(random=os.urandom), told.append, lambda _: True, clock=time.monotonic)
    server.unsent(flow)
    assert told == [Dropped(flow, "too-long-for-udp")]
