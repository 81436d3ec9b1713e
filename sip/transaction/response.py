"""Responses as text (RFC 3261 section 8.2.6): what each copies from its request, and where it is sent."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from sip.errors import MalformedMessage
from sip.message.header_values import Flow, NameAddr
from sip.message.message import Request, Response

REASONS = {
    100: "Trying",
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    469: "Bad Info Package",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "Version Not Supported",
    513: "Message Too Large",
    603: "Decline",
}
# Methods that we support; PRACK is missing because no 1xx of ours is reliable.
ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO"
ACCEPT = "multipart/mixed, application/sdp, application/rs-metadata+xml, application/rs-metadata"
SUPPORTED = "siprec, timer, replaces"
CAPABILITIES = (("Allow", ALLOW), ("Accept", ACCEPT), ("Accept-Encoding", "identity"), ("Supported", SUPPORTED))
UDP_PORT = 5060
TLS_PORT = 5061
# Bytes of a To tag. RFC 3261 section 19.3 asks for 32 bits at least; more make a dialog unguessable.
TAG_BYTES = 10

Fields = tuple[tuple[str, str], ...]


class Reply:
    """The part that all responses to one request share."""

    __slots__ = ("head", "routes", "stamp", "to")

    def __init__(self, head: str, routes: str, to: str, stamp: str = "") -> None:
        self.head = head  # Via, From, To, Call-ID and CSeq lines, To with its tag
        self.routes = routes  # Record-Route lines, for responses that make a dialog
        self.to = to  # value of To with its tag
        self.stamp = stamp  # the peer's time in its Timestamp, empty if it has none

    @classmethod
    def to_request(cls, request: Request, flow: Flow, tag: str) -> Reply:
        """Copy the header fields that every response repeats; of a damaged request, as many as there are."""
        headers = request.headers
        to = _tagged(request, tag)
        head = "".join([f"Via: {value}\r\n" for value in _vias(request, flow)])
        for name in ("From", "To", "Call-ID", "CSeq"):
            value = to if name == "To" else headers.get(name)
            if value is not None and (value or name != "To"):
                head += f"{name}: {value}\r\n"
        routes = "".join([f"Record-Route: {value}\r\n" for value in headers.all("Record-Route")])
        return cls(head, routes, to, "".join((headers.get("Timestamp") or "").split()[:1]))

    def trying(self, delay: float) -> bytes:
        """Write the 100 that is sent `delay` seconds after its request; its Timestamp tells the peer the delay."""
        return self.compose(100, (("Timestamp", f"{self.stamp} {delay}"),) if self.stamp else ())

    def compose(self, status: int, extra: Fields = (), body: bytes = b"", kind: str = "application/sdp") -> bytes:
        """Write a response; `kind` is the type of its body, if there is one."""
        fields = "".join([f"{name}: {value}\r\n" for name, value in extra])
        routes = self.routes if 100 < status < 300 else ""
        typed = f"Content-Type: {kind}\r\n" if body else ""
        text = f"SIP/2.0 {status} {REASONS.get(status, 'Error')}\r\n{self.head}{routes}{fields}{typed}"
        return f"{text}Content-Length: {len(body)}\r\n\r\n".encode("utf-8", "surrogateescape") + body


def _tagged(request: Request, tag: str) -> str:
    """Return the To of a response; that of an accepted request has been parsed already."""
    to = request.headers.get("To") or ""
    try:
        return to if request.recipient.tag else f"{to};tag={tag}"
    except MalformedMessage:
        return tagged(to, tag)


def tagged(to: str, tag: str) -> str:
    """Append a tag to a To value that has none; leave an unreadable value alone."""
    try:
        return to if not to or NameAddr.parse_leniently(to).tag else f"{to};tag={tag}"
    except MalformedMessage:
        return to


def _vias(request: Request, flow: Flow) -> list[str]:
    values = request.headers.values("Via")
    return [_stamped(values[0], request, flow), *values[1:]] if values else []


def _stamped(text: str, request: Request, flow: Flow) -> str:
    """Add the source to the top Via (RFC 3261 section 18.2.1, RFC 3581 section 4)."""
    try:
        via = request.via
    except MalformedMessage:
        return text
    host, port = (flow.remote[0].partition("%")[0], flow.remote[1])  # a zone is local to this machine
    if via.param("rport") is not None:
        return str(via.with_params(rport=str(port), received=host))
    if via.host.lower() != host or via.param("received") is not None:
        return str(via.with_params(received=host))
    return text


def reply_flow(request: Request, flow: Flow) -> Flow:
    """Return the flow of a response: on a stream the connection, on UDP the source address (RFC 3581 section 4).

    The port is the source port with `rport`, otherwise that of the top Via. `maddr` and names in the Via are ignored.
    """
    if flow.transport != "udp":
        return flow
    via = request.via
    if via.param("rport") is not None:
        return flow
    port = via.port or UDP_PORT
    if port == flow.remote[1]:
        return flow
    return Flow(flow.transport, flow.local, (flow.remote[0], port), 0, flow.listener, flow.certificate_names)


def sent_by_port(message: Request | Response) -> int:
    """Return the port where the peer listens, from the Via of a request or response (RFC 3261 section 18.2.2)."""
    via = message.via
    return via.port or (TLS_PORT if via.transport == "TLS" else UDP_PORT)


def steady_tag(secret: bytes, request: Request) -> str:
    """Derive the To tag of a stateless response: the same for each retransmission (RFC 3261 section 8.2.7)."""
    names = ("Via", "From", "Call-ID", "CSeq")
    text = "\0".join(request.headers.get(name) or "" for name in names)
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=TAG_BYTES, key=secret).hexdigest()


def new_tag(random: Callable[[int], bytes]) -> str:
    """Return an unguessable tag or branch."""
    return random(TAG_BYTES).hex()
