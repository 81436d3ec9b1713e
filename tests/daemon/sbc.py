"""An SBC in one thread: one dialog over UDP, TCP or TLS, which may go on over a new connection."""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sip.message.framing import Framer
from sip.message.message import Request, Response, parse

Kind = TypeVar("Kind", Request, Response)
HEAD = """{method} sip:rec@127.0.0.1 SIP/2.0\r
Via: SIP/2.0/{transport} 127.0.0.1:{port};rport;branch=z9hG4bK{call}{method}{cseq}\r
Max-Forwards: 70\r
From: <sip:sbc@127.0.0.1>;tag=t{call}\r
To: <sip:rec@127.0.0.1>{tag}\r
Call-ID: {call}\r
CSeq: {cseq} {method}\r
Contact: {contact}\r
Require: siprec\r
{fields}Content-Length: {length}\r
\r
"""
ANSWER = """SIP/2.0 200 OK\r
Via: {via}\r
From: {sender}\r
To: {to}\r
Call-ID: {call}\r
CSeq: {cseq}\r
{fields}Content-Length: {length}\r
\r
"""
SDP = "Content-Type: application/sdp\r\n"
ABLE = (
    "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, OPTIONS\r\nSupported: timer\r\n"
    "Accept: application/sdp, application/rs-metadata-request\r\n"
)


class Sbc:
    """One client, one dialog."""

    def __init__(self, transport: str, host: str, port: int, call: str) -> None:
        self.transport, self._server, self.call = transport, (host, port), call
        self.cseq, self.tag = 0, ""
        self.patience = 30.0  # seconds without any message after which nobody is there
        self._last: tuple[str, bytes] = ("", b"")
        self.acknowledges = True  # as soon as there is a 200
        self.agreed = b""  # what an ACK brings, where the recorder has made the offer
        self._invited = 0  # CSeq of the last INVITE that was accepted
        self._waiting: deque[Request | Response] = deque()
        self._socket: socket.socket | None = None
        self._door: socket.socket | None = None
        self._beside: list[Sbc] = []
        self.connect()

    def connect(self) -> None:
        """Open a connection, instead of the old one if there is one; UDP goes on from the port it had."""
        self._framer = Framer()
        if self.transport == "udp":
            if self._socket is None:
                self._socket = socket.socket(type=socket.SOCK_DGRAM)
                self._socket.bind(("127.0.0.1", 0))
        else:
            self._hang_up()
            self._socket = socket.create_connection(self._server, 30)
            if self.transport == "tls":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                self._socket = context.wrap_socket(self._socket)
        self._socket.settimeout(self.patience)

    def listen(self, certificate: Path) -> None:
        """Take connections too, where Via and Contact say from now on."""
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(self.patience)
        if self.transport == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            self._door = context.wrap_socket(self._door, server_side=True)

    def called(self) -> None:
        """Go on over a connection that the recorder opens."""
        assert self._door
        self._hang_up()
        self._socket, _ = self._door.accept()
        self._socket.settimeout(self.patience)
        self._framer = Framer()

    def share(self, other: Sbc) -> None:
        """Use the connection of another dialog, which speaks and reads from now on as well."""
        self._hang_up()
        self._socket, self._framer = other._socket, other._framer
        self._beside, other._beside = [other], [self]

    def close(self) -> None:
        """Hang up the connection, not the call."""
        self._hang_up()
        if self._door is not None:
            self._door.close()
            self._door = None

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, method: str, body: bytes = b"", fields: str = ABLE, kind: str = "application/sdp") -> Response:
        """Send a request and return its final answer; the ACK of an INVITE follows by itself."""
        self.cseq += 1
        self._request(method, body, fields + (f"Content-Type: {kind}\r\n" if body else ""), self.cseq)
        return self._answer()

    def again(self) -> Response:
        """Send the last request once more, byte by byte, and return its final answer."""
        self._send(self._last[1])
        return self._answer()

    def _answer(self) -> Response:
        method = self._last[0]
        assert self._socket
        self._socket.settimeout(self.patience)
        while True:
            found = self._next(Response)
            if found.cseq.method == method and found.cseq.number == self.cseq and found.status >= 200:
                break
        if method == "INVITE":
            self.tag = ";" + (found.headers.get("To") or "").partition(";")[2]
            if found.status < 300:
                self._invited = self.cseq
                self.acknowledge()
        return found

    def acknowledge(self) -> None:
        """Send the ACK of the last INVITE, unless it is to be lost."""
        if self.acknowledges:
            self._request("ACK", self.agreed, SDP if self.agreed else "", self._invited)

    def asked(self, method: str, seconds: float = 30.0) -> Request:
        """Wait for a request of the recorder and agree to it."""
        assert self._socket
        self._socket.settimeout(seconds)
        while (found := self._next(Request)).method != method:
            pass
        self._agree(found)
        return found

    def attend(self, true: Callable[[], object], seconds: float) -> list[str]:
        """Agree to whatever the recorder asks until something holds; return the methods."""
        asked, end = list[str](), time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise TimeoutError("it never came to that")
            assert self._socket
            self._socket.settimeout(0.1)
            with suppress(TimeoutError):
                self._agree(found := self._next(Request))
                asked.append(found.method)
        return asked

    def _agree(self, found: Request) -> None:
        method = found.method
        if method == "ACK":
            return
        fields = {name: found.headers.get(name) for name in ("Via", "From", "To", "Call-ID", "CSeq")}
        body = self.agreed if method == "INVITE" else b""
        self._send(
            ANSWER.format(
                via=fields["Via"],
                sender=fields["From"],
                to=fields["To"],
                call=fields["Call-ID"],
                cseq=fields["CSeq"],
                fields=f"Contact: {self._contact()}\r\n{SDP}" if body else "",
                length=len(body),
            ).encode()
            + body
        )

    def _request(self, method: str, body: bytes, fields: str, cseq: int) -> None:
        assert self._socket
        head = HEAD.format(
            method=method,
            transport=self.transport,
            port=self._port,
            contact=self._contact(),
            call=self.call,
            cseq=cseq,
            tag=self.tag,
            fields=fields,
            length=len(body),
        )
        if method != "ACK":
            self._last = method, head.encode() + body
        self._send(head.encode() + body)

    def _contact(self) -> str:
        return f"<sip:sbc@127.0.0.1:{self._port};transport={self.transport}>;+sip.src"

    @property
    def _port(self) -> int:
        """Where it listens, as it says."""
        own = self._door or self._socket
        assert own
        return int(own.getsockname()[1])

    def _send(self, data: bytes) -> None:
        assert self._socket
        if self.transport == "udp":
            self._socket.sendto(data, self._server)
        else:
            self._socket.sendall(data)

    def _next(self, kind: type[Kind]) -> Kind:
        """Return the next message of a kind; those of the other wait."""
        while True:
            for message in self._waiting:
                if isinstance(message, kind):
                    self._waiting.remove(message)
                    return message
            self._read()

    def _read(self) -> None:
        assert self._socket
        data = self._socket.recv(65_536)
        if self.transport == "udp":
            messages = [data]
        else:
            if not data:
                raise ConnectionError("the recorder closed the connection")
            messages = self._framer.feed(data)
        for message in map(parse, messages):
            beside = [one for one in self._beside if one.call == message.call_id]
            (beside or [self])[0]._take(message)

    def _take(self, message: Request | Response) -> None:
        if isinstance(message, Response) and message.cseq.number == self._invited and message.status < 300:
            if message.status >= 200:
                self.acknowledge()  # repeated, perhaps by a successor
        else:
            self._waiting.append(message)
