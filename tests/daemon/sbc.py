"""An SBC that calls a recorder over UDP, TCP or TLS: one dialog at a time, which can move to a new connection."""

from __future__ import annotations

import os
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
OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 8\r\na=label:1\r\na=sendonly\r\n"
)
ABLE = (
    "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, OPTIONS\r\nSupported: timer\r\n"
    "Accept: application/sdp, application/rs-metadata-request\r\n"
)


def client(certificate: Path | None = None, **limits: object) -> ssl.SSLContext:
    """Make a TLS context that accepts any server certificate; `limits` are attributes to set on it."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if certificate is not None:
        made.load_cert_chain(certificate)
    for name, value in limits.items():
        setattr(made, name, value)
    return made


def request(
    method: str, here: str, call: str, cseq: int = 1, *, transport: str = "udp", domain: str = "127.0.0.1",
    tag: str = "", fields: str = "", body: bytes = b"", kind: str = "application/sdp",
) -> bytes:  # fmt: skip
    """Return a request as an SBC at `here` sends it, with Call-ID `call` and From tag `t` plus `call`."""
    lines = [
        f"{method} sip:rec@{domain} SIP/2.0",
        f"Via: SIP/2.0/{transport.upper()} {here};rport;branch=z9hG4bK{call}{method}{cseq}",
        "Max-Forwards: 70",
        f"From: <sip:sbc@{here}>;tag=t{call}",
        f"To: <sip:rec@{domain}>{tag}",
        f"Call-ID: {call}",
        f"CSeq: {cseq} {method}",
        f"Contact: <sip:sbc@{here};transport={transport}>;+sip.src",
        "Require: siprec",
        *fields.splitlines(),
        *[f"Content-Type: {kind}"] * bool(body),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


class Sbc:
    """A client with one dialog at a time."""

    def __init__(
        self,
        transport: str,
        host: str,
        port: int,
        call: str = "",
        *,
        source: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.transport, self._recorder = transport, (host, port)
        self._source = source or ("::1" if ":" in host else "127.0.0.1")
        self._tls = tls or (client() if transport == "tls" else None)
        self.domain = "127.0.0.1"  # of the recorder, in the Request-URI and To
        self.patience = 30.0  # seconds to wait for a message
        self.acknowledges = True  # whether an ACK follows each 200
        self.agreed = b""  # SDP answer in the ACK, if the recorder made the offer
        self.socket: socket.socket | None = None
        self.anew(call)
        self.connect()

    def __enter__(self) -> Sbc:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def anew(self, call: str = "") -> None:
        """Abandon the dialog, and begin another one over the same connection."""
        self.call = call or f"call-{os.urandom(6).hex()}"
        self.cseq, self.tag = 0, ""
        self._last: tuple[str, bytes] = ("", b"")
        self._invited = 0  # CSeq of the last INVITE that was accepted
        self._waiting: deque[Request | Response] = deque()

    def connect(self) -> None:
        """Open a connection in place of the old one, if any; UDP keeps its port."""
        if self.transport == "udp" and self.socket is not None:
            return
        self.close()
        self._framer = Framer()
        family = socket.AF_INET6 if ":" in self._source else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM if self.transport == "udp" else socket.SOCK_STREAM)
        made.settimeout(self.patience)
        try:
            made.bind((self._source, 0))
            if self.transport != "udp":
                made.connect(self._recorder)
            self.socket = self._tls.wrap_socket(made) if self._tls else made
        except OSError:
            made.close()
            raise

    def close(self) -> None:
        """Close the connection; the dialog stays."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def ask(self, method: str, body: bytes = b"", fields: str = ABLE, kind: str = "application/sdp") -> Response:
        """Send a request and return its final response; the ACK of a 2xx to INVITE is sent automatically.

        Raises TimeoutError if no response arrives in time, ConnectionError if the recorder closes the connection.
        """
        self.cseq += 1
        self._request(method, body, fields, kind, self.cseq)
        return self._answer()

    def again(self) -> Response:
        """Send exactly the same last request again, and return its final response."""
        self.send(self._last[1])
        return self._answer()

    def insist(self, method: str, body: bytes = b"", between: Callable[[], object] = lambda: None) -> Response:
        """Repeat a request until it is answered, as a client without a response does; call `between` before each."""
        for attempt in range(40):
            try:
                return self.again() if attempt else self.ask(method, body)
            except TimeoutError:
                between()
        raise TimeoutError(f"{method} was never answered")

    def _answer(self) -> Response:
        method = self._last[0]
        found = self.answer(method, self.cseq)
        if method == "INVITE" and found.status < 300:
            self.tag = ";" + (found.headers.get("To") or "").partition(";")[2]
            self._invited = self.cseq
            self.acknowledge()
        return found

    def answer(self, method: str, cseq: int) -> Response:
        """Return the final response to a request that was sent."""
        self.socket.settimeout(self.patience)
        while True:
            found = self._next(Response)
            if (found.cseq.method, found.cseq.number) == (method, cseq) and found.status >= 200:
                return found

    def acknowledge(self) -> None:
        """Send the ACK of the last INVITE, unless `acknowledges` is off."""
        if self.acknowledges:
            self._request("ACK", self.agreed, "", "application/sdp", self._invited)

    def asked(self, method: str = "", seconds: float = 30.0, status: int = 200) -> Request:
        """Wait for a request from the recorder, or for one of a method, and answer it, unless the status is 0."""
        self.socket.settimeout(seconds)
        while (found := self._next(Request)).method == "ACK" or method not in ("", found.method):
            pass
        if status:
            self.reply(found, status)
        return found

    def attend(self, true: Callable[[], object], seconds: float) -> list[str]:
        """Answer the recorder's requests with 200 until the function returns something true; return their methods."""
        asked, end = list[str](), time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise TimeoutError("it never came to that")
            with suppress(TimeoutError):
                asked.append(self.asked(seconds=0.1).method)
        return asked

    def reply(self, found: Request, status: int) -> None:
        """Answer a request from the recorder."""
        body = self.agreed if found.method == "INVITE" and status == 200 else b""
        names = ("Via", "From", "To", "Call-ID", "CSeq")
        lines = [f"SIP/2.0 {status} OK", *(f"{name}: {value}" for name in names for value in found.headers.all(name))]
        if body:
            lines += [f"Contact: <sip:sbc@{self.here};transport={self.transport}>", "Content-Type: application/sdp"]
        self.send("\r\n".join([*lines, f"Content-Length: {len(body)}", "\r\n"]).encode() + body)

    def _request(self, method: str, body: bytes, fields: str, kind: str, cseq: int) -> None:
        data = request(
            method, self.here, self.call, cseq, transport=self.transport, domain=self.domain, tag=self.tag,
            fields=fields, body=body, kind=kind,
        )  # fmt: skip
        if method != "ACK":
            self._last = method, data
        self.send(data)

    @property
    def here(self) -> str:
        """The local address and port, as in Contact and Via."""
        host, port, *_ = self.socket.getsockname()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, data: bytes) -> None:
        """Send bytes unchanged."""
        if self.socket is None:
            raise ConnectionError("there is no connection")
        if self.transport == "udp":
            self.socket.sendto(data, self._recorder)
        else:
            self.socket.sendall(data)

    def _next(self, kind: type[Kind]) -> Kind:
        """Return the next message of a kind, request or response; messages of the other kind wait."""
        while True:
            for message in self._waiting:
                if isinstance(message, kind):
                    self._waiting.remove(message)
                    return message
            self._read()

    def _read(self) -> None:
        data = self.socket.recv(65_536)
        if self.transport != "udp" and not data:
            raise ConnectionError("the recorder closed the connection")
        for message in map(parse, [data] if self.transport == "udp" else self._framer.feed(data)):
            self._take(message)

    def _take(self, message: Request | Response) -> None:
        if isinstance(message, Response) and message.cseq.number == self._invited and message.status < 300:
            if message.status >= 200:
                self.acknowledge()  # the 200 was repeated, perhaps by a successor
        else:
            self._waiting.append(message)
