"""An SBC in one thread: one dialog over UDP, TCP or TLS, which may go on over a new connection."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from typing import TypeVar

from sip.framing import Framer
from sip.message import Request, Response, parse

Kind = TypeVar("Kind", Request, Response)
HEAD = """{method} sip:rec@127.0.0.1 SIP/2.0\r
Via: SIP/2.0/{transport} 127.0.0.1:{port};rport;branch=z9hG4bK{call}{method}{cseq}\r
Max-Forwards: 70\r
From: <sip:sbc@127.0.0.1>;tag=t{call}\r
To: <sip:rec@127.0.0.1>{tag}\r
Call-ID: {call}\r
CSeq: {cseq} {method}\r
Contact: <sip:sbc@127.0.0.1:{port};transport={transport}>;+sip.src\r
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
Content-Length: 0\r
\r
"""
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
        self._invited = 0  # CSeq of the last INVITE that was accepted
        self._waiting: deque[Request | Response] = deque()
        self._socket: socket.socket | None = None
        self.connect()

    def connect(self) -> None:
        """Open a connection, instead of the old one if there is one; UDP goes on from the port it had."""
        self._framer = Framer()
        if self.transport == "udp":
            if self._socket is None:
                self._socket = socket.socket(type=socket.SOCK_DGRAM)
                self._socket.bind(("127.0.0.1", 0))
        else:
            self.close()
            self._socket = socket.create_connection(self._server, 30)
            if self.transport == "tls":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                self._socket = context.wrap_socket(self._socket)
        self._socket.settimeout(self.patience)

    def close(self) -> None:
        """Hang up the connection, not the call."""
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
                self._request("ACK", b"", "", self.cseq)
        return found

    def asked(self, method: str, seconds: float = 30.0) -> Request:
        """Wait for a request of the recorder and agree to it."""
        assert self._socket
        self._socket.settimeout(seconds)
        while (found := self._next(Request)).method != method:
            pass
        fields = {name: found.headers.get(name) for name in ("Via", "From", "To", "Call-ID", "CSeq")}
        self._send(
            ANSWER.format(
                via=fields["Via"], sender=fields["From"], to=fields["To"], call=fields["Call-ID"], cseq=fields["CSeq"]
            ).encode()
        )
        return found

    def _request(self, method: str, body: bytes, fields: str, cseq: int) -> None:
        assert self._socket
        head = HEAD.format(
            method=method,
            transport=self.transport,
            port=self._socket.getsockname()[1],
            call=self.call,
            cseq=cseq,
            tag=self.tag,
            fields=fields,
            length=len(body),
        )
        if method != "ACK":
            self._last = method, head.encode() + body
        self._send(head.encode() + body)

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
            if isinstance(message, Response) and message.cseq.number == self._invited and message.status < 300:
                if message.status >= 200:
                    self._request("ACK", b"", "", message.cseq.number)  # repeated, perhaps by a successor
            else:
                self._waiting.append(message)
