"""The link to the recorder: one UDP socket, or one TCP or TLS connection that is opened again when it breaks."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from recorder.errors import RecorderError
from recorder.simulate.dialog import Self
from recorder.simulate.plan import Plan
from sip.errors import FramingError
from sip.message.framing import KEEPALIVE, Framer
from sip.message.message import Framed

if TYPE_CHECKING:
    from asyncio_dgram.aio import DatagramClient

CONNECT_SECONDS = 5.0
RETRY_SECONDS = 0.1
"""Seconds between attempts to connect again: a recorder that restarts is back within a second."""
_RECEIVE_BUFFER = 4 << 20

Receive = Callable[[Framed | bytes], None]


class Unreachable(RecorderError):
    """The recorder cannot be reached; the message says why."""


async def open_link(plan: Plan, receive: Receive) -> UdpLink | StreamLink:
    """Open the link to the recorder; raise Unreachable."""
    host = await _resolve(plan)
    if plan.carrier == "udp":
        return await _open_udp(plan, host, receive)
    link = StreamLink(plan, host, receive)
    await link.start()
    return link


async def _resolve(plan: Plan) -> str:
    name = plan.target.host
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, plan.port, type=socket.SOCK_DGRAM)
    except OSError:
        raise Unreachable(f"The name {name} cannot be resolved.") from None
    return str(found[0][4][0])


def own_address(host: str, port: int) -> str:
    """Return the local address for packets to a host; raise Unreachable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))
        except OSError:
            raise Unreachable(f"There is no route to {host}.") from None
        return str(probe.getsockname()[0])


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class UdpLink:
    """SIP over UDP, by asyncio-dgram."""

    up = True

    def __init__(self, plan: Plan, stream: DatagramClient, receive: Receive) -> None:
        self.remote, self.losses, self.refused = stream.peername[:2], 0, False
        self._stream, self._receive = stream, receive
        self.address, port = stream.sockname[:2]
        self.me = Self("udp", _bracketed(self.address), port)
        self._task = asyncio.create_task(self._serve(), name="simulate-link")

    async def _serve(self) -> None:
        """Pass on messages; retransmissions continue where nobody listens, because the recorder may be starting."""
        while True:
            try:
                data, _ = await self._stream.recv()
            except OSError as error:
                self._note(error)
                continue
            if data.strip():
                self._receive(data)

    def _note(self, error: OSError | None) -> None:
        self.refused = self.refused or isinstance(error, ConnectionRefusedError)

    async def send(self, data: bytes) -> None:
        """Send one message."""
        try:
            self._note(await deliver(self._stream, data))
        except OSError as error:
            self._note(error)

    async def close(self) -> None:
        """Close the socket."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._stream.close()
        await asyncio.sleep(0)  # asyncio closes it in the next turn of the loop


async def _open_udp(plan: Plan, host: str, receive: Receive) -> UdpLink:
    from asyncio_dgram import from_socket

    address = plan.source or own_address(host, plan.port)
    ours = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        ours.bind((address, 0))
        ours.connect((host, plan.port))
    except OSError as error:
        ours.close()
        raise Unreachable(f"No UDP socket from {address} to {host}: {error.strerror}.") from None
    return UdpLink(plan, cast("DatagramClient", await from_socket(ours)), receive)


async def deliver(stream: Any, datagram: bytes, *to: tuple[str, int]) -> OSError | None:
    """Send a datagram by asyncio-dgram, which raises what an earlier one met: send it again then, and return that.

    Raise OSError if the second fails too.
    """
    try:
        await stream.send(datagram, *to)
    except OSError as earlier:
        await stream.send(datagram, *to)
        return earlier
    return None


class StreamLink:
    """SIP over TCP or TLS."""

    def __init__(self, plan: Plan, host: str, receive: Receive) -> None:
        self.remote, self.losses, self.refused = (host, plan.port), 0, False
        self._plan, self._receive = plan, receive
        self._tls = _context(plan) if plan.carrier == "tls" else None
        self._up = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._up.is_set()

    async def start(self) -> None:
        """Connect for the first time; raise Unreachable."""
        await self._connect()
        self._task = asyncio.create_task(self._serve(), name="simulate-link")

    async def _connect(self) -> None:
        local = (self._plan.source, 0) if self._plan.source else None
        name = self._plan.target.host if self._tls else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):  # wait_for of Python 3.11 may swallow a cancellation
                self._reader, self._writer = await asyncio.open_connection(
                    *self.remote, ssl=self._tls, server_hostname=name, local_addr=local
                )
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"The recorder's certificate is not trusted: {error.verify_message}. Give --ca FILE, or --insecure."
            ) from None
        except ssl.SSLError as error:
            raise Unreachable(f"TLS with {self.remote[0]}:{self.remote[1]} failed: {error.reason}.") from None
        except (OSError, TimeoutError):
            raise Unreachable(
                f"Nobody answers at {self.remote[0]}:{self.remote[1]} over {self._plan.carrier.upper()}."
            ) from None
        address, port = self._writer.get_extra_info("sockname")[:2]
        self.address, self.me = address, Self(self._plan.carrier, _bracketed(address), port)
        self._up.set()

    async def _serve(self) -> None:
        while True:
            await self._read()
            self._up.clear()
            self.losses += 1
            self._writer.close()
            while not self._up.is_set():
                await asyncio.sleep(RETRY_SECONDS)
                try:
                    await self._connect()
                except Unreachable:
                    continue

    async def _read(self) -> None:
        framer = Framer()
        try:
            while data := await self._reader.read(65536):
                for message in framer.feed(data):
                    if message != KEEPALIVE:
                        self._receive(message)
        except (OSError, FramingError):
            return  # the connection is opened again

    async def send(self, data: bytes) -> None:
        """Send one message, on the next connection if this one is broken."""
        await self._up.wait()
        self._writer.write(data)

    async def close(self) -> None:
        """Close the connection."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return  # it was broken before


def _context(plan: Plan) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=plan.ca)
        if plan.certificate:
            context.load_cert_chain(plan.certificate, plan.private_key)
    except OSError as error:
        raise Unreachable(f"A certificate or key file cannot be read: {error.strerror or error}.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if plan.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
