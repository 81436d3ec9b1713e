"""A recording client in memory: it speaks to an endpoint, hears its messages and sees its events; time is a number."""

from __future__ import annotations

from itertools import count

from sip.endpoint import Endpoint
from sip.message.header_values import Flow, NameAddr
from sip.message.message import Request, Response, parse
from sip.ua.events import Close, Event, Invited, Numbered, Send, SessionKey
from sip.ua.settings import Settings

OURS = ("192.0.2.10", 5060)
THEIRS = ("192.0.2.1", 5070)
UDP = Flow("udp", OURS, THEIRS)
OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = b"v=0\r\no=- 2 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"
METADATA = b"<?xml version='1.0'?><recording xmlns='urn:ietf:params:xml:ns:recording:1'/>"


def multipart(*, offer: bytes | None = OFFER, metadata: bytes | None = METADATA) -> tuple[bytes, str]:
    """Compose the body of a SIPREC INVITE and its type."""
    body = b""
    if offer is not None:
        body += b"--b\r\nContent-Type: application/sdp\r\n\r\n" + offer + b"\r\n"
    if metadata is not None:
        body += b"--b\r\nContent-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n"
        body += metadata + b"\r\n"
    return body + b"--b--\r\n", "multipart/mixed;boundary=b"


class Noise:
    """Give bytes that never repeat, without chance."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, size: int) -> bytes:
        return next(self._numbers).to_bytes(8, "big").rjust(size, b"\xa5")[-size:]


class Story:
    """One client, one endpoint."""

    def __init__(self, flow: Flow = UDP, **settings: object) -> None:
        self.endpoint = Endpoint(Settings(**settings), random=Noise())  # type: ignore[arg-type]  # tests name fields
        self.flow = flow
        self.now = 1000.0
        self.numbered: list[SessionKey] = []
        self.cseq = 0
        self.call_id = "call-1@client.example"
        self.to = "<sip:rec@192.0.2.10>"
        self.sender = "<sip:sbc@192.0.2.1>;tag=client"
        self.branches = count(1)
        self.sent: list[Send | Close] = []
        if flow.connection:
            self.endpoint.connection_made(flow, self.now)

    # Speaking.

    def request(
        self,
        method: str,
        *lines: str,
        body: bytes = b"",
        kind: str = "",
        cseq: int | None = None,
        branch: str = "",
        contact: str = "<sip:sbc@192.0.2.1:5070>;+sip.src",
        uri: str = "sip:rec@192.0.2.10",
        to: str | None = None,
    ) -> bytes:
        """Write a request of the client; a new branch and the next CSeq unless told otherwise."""
        if cseq is None:
            self.cseq += 0 if method in ("ACK", "CANCEL") else 1
            cseq = self.cseq
        branch = branch or f"z9hG4bK-{next(self.branches)}"
        host, port = self.flow.remote
        head = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{self.flow.transport.upper()} {host}:{port};branch={branch};rport",
            f"From: {self.sender}",
            f"To: {self.to if to is None else to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            "Max-Forwards: 70",
            *([f"Contact: {contact}"] if contact and method in ("INVITE", "UPDATE") else []),
            *lines,
            *([f"Content-Type: {kind}"] if kind else []),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(head) + "\r\n\r\n").encode() + body

    def invite(self, *lines: str, **kw: object) -> bytes:
        """Write a SIPREC INVITE with offer and metadata."""
        body, kind = multipart()
        return self.request("INVITE", "Require: siprec", *lines, **{"body": body, "kind": kind, **kw})  # type: ignore[arg-type]  # passed on

    def say(self, data: bytes, flow: Flow | None = None) -> list[Request | Response]:
        """Send bytes and hear what comes back at once."""
        flow = flow or self.flow
        if flow.transport == "udp":
            self.endpoint.receive_datagram(data, flow, self.now)
        else:
            self.endpoint.receive_stream(data, flow, self.now)
        return self.hear()

    # Hearing.

    def hear(self) -> list[Request | Response]:
        """Take what the endpoint sends, parsed."""
        self.sent = self.endpoint.data_to_send()
        return [parse(item.data) for item in self.sent if isinstance(item, Send) and item.data.strip()]

    def events(self) -> list[Event]:
        """Take all events; that requests of ours were numbered is put aside."""
        found = []
        while (event := self.endpoint.next_event()) is not None:
            if isinstance(event, Numbered):
                self.numbered.append(event.session)
            else:
                found.append(event)
        return found

    def wait(self, seconds: float) -> list[Request | Response]:
        """Let time pass, timer by timer; hear what is sent meanwhile."""
        end = self.now + seconds
        heard: list[Request | Response] = []
        while (at := self.endpoint.next_timer()) is not None and at <= end:
            self.now = max(self.now, at)
            self.endpoint.handle_timer(self.now)
            heard += self.hear()
        self.now = end
        return heard

    # Common beginnings.

    def invited(self, *lines: str, **kw: object) -> Invited:
        """Place a call up to the question to the user."""
        self.say(self.invite(*lines, **kw))
        (event,) = self.events()
        assert isinstance(event, Invited)
        return event

    def established(self, *lines: str, **kw: object) -> Invited:
        """Place a call, have it accepted and acknowledge it."""
        event = self.invited(*lines, **kw)
        self.endpoint.accept(event.token, ANSWER, self.now)
        (response,) = self.hear()
        self.learn(response)
        self.say(self.request("ACK"))
        self.events()
        return event

    def learn(self, response: Request | Response) -> None:
        """Take over the To tag."""
        self.to = response.headers.get("To") or ""

    def reply(self, request: Request, status: int, *lines: str, body: bytes = b"") -> bytes:
        """Answer a request of the endpoint."""
        names = ("Via", "From", "To", "Call-ID", "CSeq")
        head = [f"SIP/2.0 {status} Whatever"]
        head += [f"{name}: {value}" for name in names for value in request.headers.all(name)]
        head += [*lines, *(["Content-Type: application/sdp"] if body else []), f"Content-Length: {len(body)}"]
        return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def statuses(heard: list[Request | Response]) -> list[int]:
    """Give the status codes of what was heard."""
    return [message.status for message in heard if isinstance(message, Response)]


def methods(heard: list[Request | Response]) -> list[str]:
    """Give the methods of what was heard."""
    return [message.method for message in heard if isinstance(message, Request)]


def tag_of(message: Request | Response) -> str | None:
    """Give the To tag."""
    return NameAddr.parse(message.headers.get("To") or "").tag
