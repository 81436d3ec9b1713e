"""A scripted recorder: answers over UDP or TCP, and keeps all requests and packets it receives."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from sip.message.framing import Framer
from sip.message.headers import Headers
from sip.message.message import Framed, Request, Response, parse
from sip.message.multipart import parts_of
from sip.sdp.description import SessionDescription


@dataclass
class RecorderDouble:
    """A recorder on loopback, whose fields define its behaviour."""

    status: int = 200
    """Its answer to INVITE."""
    drops: int = 0
    """Number of INVITEs that it first leaves unanswered."""
    late: float = 0.0
    """Seconds before it sends its answer to INVITE, over UDP."""
    hangs_up: bool = False
    """Whether it sends BYE as soon as it has the ACK of its last 200."""
    echo_labels: bool = True
    """Whether its answers contain a=label."""
    repeats: int = 0
    """How often it repeats its 200 to an INVITE, each time on receiving an ACK."""
    taken: bytes = b""
    """Its newest answer to INVITE."""
    requests: list[Request] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    media: list[socket.socket] = field(default_factory=list)
    _taken: bytes = b""

    async def start(self) -> None:
        """Listen on one port over UDP and TCP; try another port if the first is taken over UDP."""
        loop = asyncio.get_running_loop()
        while True:
            self._tcp = await asyncio.start_server(self._stream, "127.0.0.1", 0)
            self.port: int = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=("127.0.0.1", self.port)
                )
            except OSError:
                self._tcp.close()
                continue
            return

    async def stop(self) -> None:
        """Close everything."""
        self._udp.close()
        self._tcp.close()
        await asyncio.sleep(0.01)
        for each in self.media:
            each.close()

    def methods(self) -> list[str]:
        """Return CSeq and method of the received requests in order, without repetitions."""
        return list(dict.fromkeys(f"{r.cseq.number} {r.method}" for r in self.requests))

    def packets(self) -> list[bytes]:
        """Return the packets that have arrived at all media ports."""
        found = []
        for each in self.media:
            try:
                while True:
                    found.append(each.recv(2048, socket.MSG_DONTWAIT))
            except BlockingIOError:
                continue
        return found

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer()
        while data := await reader.read(65536):
            for message in framer.feed(data):
                for answer in self.take(message):
                    writer.write(answer)
        writer.close()

    def take(self, data: Framed | bytes) -> list[bytes]:
        """Handle a message and return the answers."""
        message = parse(data)
        if isinstance(message, Response):
            self.responses.append(message)
            return []
        self.requests.append(message)
        if message.method == "ACK":
            if self.repeats and self.taken:
                self.repeats -= 1
                return [self.taken]
            return [bytes(self._bye(message))] if self.hangs_up else []
        if message.method == "INVITE" and self.drops:
            self.drops -= 1
            return []
        if message.method == "INVITE":
            self.taken = bytes(self._answer(message))
            return [self.taken]
        return [bytes(_reply(message, 200))]

    def _answer(self, request: Request) -> Response:
        if self.status != 200:
            return _reply(request, self.status)
        offer = SessionDescription.parse(
            next(part.body for part in parts_of(request.headers, request.body) if part.is_sdp)
        )
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        while len(self.media) < len(offer.media):
            self.media.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            self.media[-1].bind(("127.0.0.1", 0))
        for media, place in zip(offer.media, self.media, strict=False):
            lines.append(f"m=audio {place.getsockname()[1]} {media.profile} {media.payloads[0]}")
            lines.append("a=inactive" if media.direction == "inactive" else "a=recvonly")
            crypto = media.attribute("crypto")
            lines += [f"a=crypto:{crypto.partition(' inline')[0]} inline:{_key(crypto)}"] if crypto else []
            lines += [f"a=label:{media.label}"] if self.echo_labels else []
        answer = _reply(request, 200, "\r\n".join([*lines, ""]).encode())
        answer.headers.add("Contact", f"<sip:127.0.0.1:{self.port}>;+sip.srs")
        return answer

    def _bye(self, ack: Request) -> Request:
        headers = Headers([("Via", f"SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bKdouble")])
        for name, value in (("From", ack.headers.get("To")), ("To", ack.headers.get("From")), ("Call-ID", ack.call_id)):
            headers.add(name, value or "")
        headers.add("CSeq", "1 BYE")
        return Request("BYE", "sip:client@127.0.0.1", headers=headers)


def _key(crypto: str) -> str:
    """Return a key as long as the offer's."""
    return "A" * len(crypto.partition("inline:")[2].rstrip("=")) + "=" * crypto.count("=")


def _reply(request: Request, status: int, body: bytes = b"") -> Response:
    headers = Headers(
        [(name, value) for name, value in request.headers.items() if name in ("Via", "From", "Call-ID", "CSeq")]
    )
    to = request.headers.get("To") or ""
    headers.add("To", to if ";tag=" in to else f"{to};tag=double")
    if body:
        headers.add("Content-Type", "application/sdp")
    return Response(status, "OK" if status == 200 else "No", headers, body)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, double: RecorderDouble) -> None:
        self._double = double

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # always UDP here
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        late = self._double.late if data.startswith(b"INVITE") else 0.0
        for answer in self._double.take(data):
            asyncio.get_running_loop().call_later(late, self._transport.sendto, answer, addr)
