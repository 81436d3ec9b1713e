"""A recording client in memory: it speaks to an endpoint, hears its messages and sees its events; time is a number."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

from sip.endpoint import Endpoint
from sip.message.header_values import Flow
from sip.message.message import Request, Response, parse
from sip.ua.events import Invited, Numbered, Send, SessionKey
from sip.ua.settings import Settings

OURS = ("192.0.2.10", 5060)
THEIRS = ("192.0.2.1", 5070)
UDP = Flow("udp", OURS, THEIRS)
TCP = Flow("tcp", OURS, ("192.0.2.1", 40001), 1)
TCP2 = Flow("tcp", OURS, ("192.0.2.1", 40002), 2)
OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = b"v=0\r\no=- 2 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"
SDP: dict[str, Any] = {"body": OFFER, "kind": "application/sdp"}
LATE: dict[str, Any] = {"body": b"", "kind": ""}
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

    session: SessionKey
    """The newest call."""

    def __init__(self, flow: Flow = UDP, random: Callable[[int], bytes] | None = None, **settings: Any) -> None:
        self.endpoint = Endpoint(Settings(**settings), random=random or Noise())
        self.flow = flow
        self.now = 1000.0
        self.numbered: list[SessionKey] = []
        self.cseq = 0
        self.call_id = "call-1@client.example"
        self.to = "<sip:rec@192.0.2.10>"
        self.sender = "<sip:sbc@192.0.2.1>;tag=client"
        self.branches = count(1)
        self.sent: list[Any] = []  # Send or Close
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

    def invite(self, *lines: str, **kw: Any) -> bytes:
        """Write a SIPREC INVITE with offer and metadata."""
        body, kind = multipart()
        return self.request("INVITE", "Require: siprec", *lines, **{"body": body, "kind": kind, **kw})

    def say(self, data: bytes, flow: Flow | None = None) -> list[Any]:
        """Send bytes and hear what comes back at once."""
        flow = flow or self.flow
        if flow.transport == "udp":
            self.endpoint.receive_datagram(data, flow, self.now)
        else:
            self.endpoint.receive_stream(data, flow, self.now)
        return self.hear()

    # Hearing.

    def hear(self) -> list[Any]:
        """Take the requests and responses that the endpoint sends."""
        self.sent = self.endpoint.data_to_send()
        return [parse(item.data) for item in self.sent if isinstance(item, Send) and item.data.strip()]

    def events(self) -> list[Any]:
        """Take all events; that requests of ours were numbered is put aside."""
        found = []
        while (event := self.endpoint.next_event()) is not None:
            if isinstance(event, Numbered):
                self.numbered.append(event.session)
            else:
                found.append(event)
        return found

    def wait(self, seconds: float) -> list[Any]:
        """Let time pass, timer by timer; hear what is sent meanwhile."""
        end = self.now + seconds
        heard = []
        while (at := self.endpoint.next_timer()) is not None and at <= end:
            self.now = max(self.now, at)
            self.endpoint.handle_timer(self.now)
            heard += self.hear()
        self.now = end
        return heard

    # Common beginnings.

    def invited(self, *lines: str, **kw: Any) -> Invited:
        """Place a call up to the question to the user."""
        self.say(self.invite(*lines, **kw))
        (event,) = self.events()
        assert isinstance(event, Invited)
        self.session = event.session
        return event

    def answer(self, event: Any, sdp: bytes = ANSWER) -> Any:
        """Have an offer accepted; give the 200."""
        assert self.endpoint.accept(event.token, sdp, self.now)
        (response,) = self.hear()
        self.learn(response)
        return response

    def answered(self, *lines: str, sdp: bytes = ANSWER, **kw: Any) -> Any:
        """Place a call and have it accepted; give the 200, which waits for its ACK."""
        return self.answer(self.invited(*lines, **kw), sdp)

    def established(self, *lines: str, **kw: Any) -> SessionKey:
        """Place a call, have it accepted and acknowledge it."""
        self.answered(*lines, **kw)
        self.say(self.request("ACK"))
        self.events()
        return self.session

    def another(self) -> None:
        """Speak of a new dialog from now on."""
        self.call_id, self.cseq, self.to = f"{next(self.branches)}@client.example", 0, "<sip:rec@192.0.2.10>"

    # What the user does.

    def reoffer(self, sdp: bytes = ANSWER, *, paused: bool = False) -> list[Any]:
        """Offer new media; give what is sent for it."""
        self.endpoint.reoffer(self.session, sdp, self.now, paused=paused)
        return self.hear()

    def hang_up(self, reason: str = "") -> list[Any]:
        """End the call; give what is sent for it."""
        self.endpoint.hang_up(self.session, reason, self.now)
        return self.hear()

    # Connections.

    def lose(self, flow: Flow) -> list[Any]:
        """Break a connection, or let none be made where number 0 stands; give what goes another way."""
        self.endpoint.connection_lost(flow, self.now)
        return self.hear()

    def connect(self, flow: Flow) -> None:
        """Speak by a new connection from now on."""
        self.endpoint.connection_made(flow, self.now)
        self.flow = flow

    def learn(self, response: Response) -> None:
        """Take over the To tag."""
        self.to = response.headers.get("To") or ""

    def reply(self, request: Request, status: int, *lines: str, body: bytes = b"") -> bytes:
        """Answer a request of the endpoint."""
        names = ("Via", "From", "To", "Call-ID", "CSeq")
        head = [f"SIP/2.0 {status} Whatever"]
        head += [f"{name}: {value}" for name in names for value in request.headers.all(name)]
        head += [*lines, *(["Content-Type: application/sdp"] if body else []), f"Content-Length: {len(body)}"]
        return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def established(*lines: str, flow: Flow = UDP, **kw: Any) -> Story:
    """Place a call as far as its ACK."""
    story = Story(flow)
    story.established(*lines, **kw)
    return story


def revived(story: Story, state: dict[str, Any] | None = None, flow: Flow | None = None) -> Story:
    """Let a successor of the process take up the call, or what was exported of it; its client goes on."""
    after = Story(flow or story.flow)
    after.now = story.now + 3
    kept = json.loads(json.dumps(state or story.endpoint.export(story.session)))
    after.session = after.endpoint.restore(kept, after.now)
    for name in ("cseq", "call_id", "to", "sender", "branches"):
        setattr(after, name, getattr(story, name))
    after.events()
    return after


def statuses(heard: list[Any]) -> list[int]:
    """Give the status codes of what was heard."""
    return [message.status for message in heard if isinstance(message, Response)]


def methods(heard: list[Any]) -> list[str]:
    """Give the methods of what was heard."""
    return [message.method for message in heard if isinstance(message, Request)]
