"""What the tests of the server stand on: a user of it on real sockets, clients on UDP and on streams, certificates."""

import asyncio
import datetime
import functools
import os
import socket
import ssl
import time
from contextlib import asynccontextmanager, contextmanager, suppress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sip.endpoint import Endpoint
from sip.message.header_values import Flow
from sip.transport.server import Listener, Server, open_socket
from sip.ua.events import Closed, Dropped, HungUp, Invited, Send
from sip.ua.settings import Settings
from tests.in_process.waiting import until
from tests.sip.memory_client import ANSWER, Story

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


def serving(ours, theirs=None):
    """Give what makes the TLS context of a server; `theirs` is whose certificates a client must show."""

    def context():
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(ours)
        if theirs:
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(theirs)
        return made

    return context


class Scripted(Endpoint):
    """An endpoint that also sends what a test wants, and notes the connections that are lost or not to be had."""

    def __init__(self, settings):
        super().__init__(settings, random=os.urandom)
        self.extra, self.lost = [], []

    def data_to_send(self):
        extra, self.extra = self.extra, []
        return [*extra, *super().data_to_send()]

    def connection_lost(self, flow, now):
        self.lost.append(flow)
        super().connection_lost(flow, now)


class Daemon:
    """A user of the server that accepts every call and confirms every BYE."""

    def __init__(
        self,
        transport,
        *,
        host=HOST,
        context=None,
        admits=lambda flow: True,
        client=None,
        known=lambda flow: True,
        filter_names=lambda data, names: names,
        faulty=False,
        **settings,
    ):
        knobs = Settings(**settings)
        self.endpoint = Scripted(knobs)
        self.events = []
        self.faulty = faulty
        self.server = Server(
            self.endpoint, self.heard, admits, clock=time.monotonic, settings=knobs, client_context=client, known=known,
            filter_names=filter_names,
        )  # fmt: skip
        self.socket = open_socket(transport, host, 0)
        self.address = self.socket.getsockname()[:2]
        self.listener = Listener(transport, self.socket, context)

    def heard(self, event):
        self.events.append(event)
        if isinstance(event, Invited):
            self.endpoint.accept(event.token, ANSWER, time.monotonic())
            if self.faulty:
                raise RuntimeError
        if isinstance(event, HungUp):
            self.endpoint.confirm(event.token, time.monotonic())

    def send(self, flow, *words):
        """Have the endpoint send something."""
        self.endpoint.extra += [Send(flow, word) for word in words]
        self.server.flush()

    def reasons(self):
        """Give the reasons of what was dropped."""
        return [event.reason for event in self.events if isinstance(event, Dropped)]

    async def wait_for(self, kind, times=1):
        await until(lambda: sum(isinstance(event, kind) for event in self.events) >= times)


@asynccontextmanager
async def running(*args, **kw):
    daemon = Daemon(*args, **kw)
    await daemon.server.start([daemon.listener])
    try:
        yield daemon
    finally:
        await daemon.server.close()


@asynccontextmanager
async def stream(daemon, **kw):
    """Connect to the server by TCP or TLS."""
    reader, writer = await asyncio.open_connection(*daemon.address, **kw)
    try:
        yield reader, writer
    finally:
        writer.close()


@asynccontextmanager
async def listener(**kw):
    """Listen where the server may connect to; give the address and what it sends."""
    heard, taken = asyncio.Queue(), []

    class Listening(asyncio.Protocol):
        def connection_made(self, transport):
            taken.append(transport)

        def data_received(self, data):
            heard.put_nowait(data)

    made = await asyncio.get_running_loop().create_server(Listening, HOST, 0, **kw)
    try:
        yield made.sockets[0].getsockname()[:2], heard
    finally:
        for transport in taken:
            transport.abort()
        made.close()


async def ended(reader):
    """Wait until the server has closed a connection."""
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 30) == b""


class Phone:
    """A client on UDP."""

    def __init__(self, own, server):
        self._socket = own
        self._server = server

    async def ask(self, data, seconds=30):
        """Send a datagram; give the next one that comes."""
        self._socket.sendto(data, self._server)
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._socket, 65535), seconds)


@contextmanager
def phone(daemon):
    """Have a client on UDP, and the story it tells."""
    host = daemon.address[0]
    six = ":" in host
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.bind((host, 0))
        here = (f"[{host}]" if six else host, own.getsockname()[1])
        yield Phone(own, daemon.address), Story(Flow("udp", daemon.address, here))


async def message(reader):
    """Read one message of a stream."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    length = int(head.lower().split(b"content-length:")[1].split()[0])
    return head + await asyncio.wait_for(reader.readexactly(length), 30)


def story_of(daemon, writer, transport="tcp"):
    """Write what the client at this end of a connection says."""
    host, port = writer.get_extra_info("sockname")[:2]
    return Story(Flow(transport, daemon.address, (f"[{host}]" if ":" in host else host, port), 1))


async def answered(reader, writer, story, **kw):
    """Place a call as far as its 200."""
    writer.write(story.invite(**kw))
    answer = await message(reader)
    assert answer.startswith(b"SIP/2.0 200")
    story.to = next(line[4:] for line in answer.decode().split("\r\n") if line.startswith("To: "))
    return answer


async def call_over(daemon, reader, writer, transport):
    """Place a call on a stream and hang up."""
    story = story_of(daemon, writer, transport)
    assert f"transport={transport}>;+sip.srs".encode() in await answered(reader, writer, story)
    writer.write(story.request("ACK") + story.request("BYE"))
    assert (await message(reader)).startswith(b"SIP/2.0 200")
    await daemon.wait_for(Closed)
