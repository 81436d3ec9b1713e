"""A dialog (RFC 3261 section 12) on the side of the server that accepted it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sip.errors import MalformedMessage
from sip.message.header_values import NameAddr
from sip.message.headers import Headers
from sip.message.message import Request
from sip.message.uri import Uri

# Our first CSeq; our requests are numbered independently of the peer's (RFC 3261 section 12.1.1).
FIRST_CSEQ = 0


class Order(Enum):
    """How the CSeq of a request compares with earlier ones (RFC 3261 section 12.2.2)."""

    NEW = "new"
    REPEATED = "repeated"  # same number: a retransmission that outlived its transaction
    OLD = "old"  # lower number: answer 500


@dataclass(slots=True)
class Dialog:
    """What both ends agreed on. Mutable, because CSeq, target and flow change."""

    # As sent by the peer.
    call_id: str
    # Our tag.
    local_tag: str
    # The peer's tag, empty for RFC 2543 peers.
    remote_tag: str
    # Value of From in our requests: the peer's To with our tag.
    local: str
    # Value of To in our requests: the peer's From.
    remote: str
    # The peer's Contact URI.
    target: str
    # Record-Route values in the order received (section 12.1.1: a server keeps the order).
    routes: tuple[str, ...]
    # Request-URI and Contact are sips (section 12.1.1).
    secure: bool
    # Highest CSeq of the peer.
    remote_cseq: int
    # Our last CSeq.
    local_cseq: int = FIRST_CSEQ

    @classmethod
    def accept(cls, request: Request, local: str, tag: str) -> Dialog:
        """Create the dialog that a 2xx to this INVITE establishes; `local` is the To value with our tag.

        Raise MalformedValue if From cannot be read, which `sip.message.message.check` has already ruled out.
        """
        headers = request.headers
        sender = request.sender
        routes = tuple(headers.values("Record-Route"))
        return cls(
            call_id=request.call_id,
            local_tag=tag,
            remote_tag=sender.tag or "",
            local=local,
            remote=headers.get("From") or "",
            target=contact_uri(headers) or sender.uri,
            routes=routes,
            secure=request.uri[:5].lower() == "sips:" or bool(routes and "<sips:" in routes[0].lower()),
            remote_cseq=request.cseq.number,
        )

    def admit(self, number: int) -> Order:
        """Compare the CSeq of a request from the peer, and remember it if it is new."""
        if number < self.remote_cseq:
            return Order.OLD
        if number == self.remote_cseq:
            return Order.REPEATED
        self.remote_cseq = number
        return Order.NEW

    def next_cseq(self) -> int:
        """Return the CSeq for our next request."""
        self.local_cseq += 1
        return self.local_cseq

    def retarget(self, headers: Headers) -> None:
        """Update the target after a target refresh (INVITE, UPDATE; section 12.2.2); ignore a malformed Contact."""
        self.target = contact_uri(headers) or self.target

    def next_hop(self) -> str:
        """Return the URI to which our requests are sent (section 12.2.1.1)."""
        return _route_uri(self.routes[0]) if self.routes else self.target

    def request(self, method: str, cseq: int, via: str, contact: str, extra: str, body: bytes, kind: str) -> bytes:
        """Write a request of ours; `extra` holds whole header lines."""
        uri, routes = self._route()
        lines = [f"{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n"]
        lines += [f"Route: {route}\r\n" for route in routes]
        lines.append(f"From: {self.local}\r\nTo: {self.remote}\r\nCall-ID: {self.call_id}\r\nCSeq: {cseq} {method}\r\n")
        lines += [f"Contact: {contact}\r\n"] if contact else []
        lines += [extra, f"Content-Type: {kind}\r\n" if body else "", f"Content-Length: {len(body)}\r\n\r\n"]
        return "".join(lines).encode("utf-8", "surrogateescape") + body

    def _route(self) -> tuple[str, tuple[str, ...]]:
        """Return Request-URI and Route values; a strict router (no lr) becomes the Request-URI itself."""
        if not self.routes:
            return self.target, ()
        first = _route_uri(self.routes[0])
        if _is_loose(first):
            return self.target, self.routes
        return first, (*self.routes[1:], f"<{self.target}>")


def contact_uri(headers: Headers) -> str | None:
    """Return the address of the first Contact; None if there is none or it is no SIP address."""
    values = headers.values("Contact")
    try:
        uri = NameAddr.parse(values[0]).uri if values else ""
        return uri if Uri.parse(uri).scheme in ("sip", "sips") else None
    except MalformedMessage:
        return None


def _route_uri(value: str) -> str:
    try:
        return NameAddr.parse_leniently(value).uri
    except MalformedMessage:
        return value.strip("<> ")


def _is_loose(uri: str) -> bool:
    try:
        return Uri.parse(uri).param("lr") is not None
    except MalformedMessage:
        return True
