"""A recording dialog from the client's side (RFC 3261 section 12): builds requests, ACKs and answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from sip.errors import SipError
from sip.message.header_values import NameAddr
from sip.message.headers import Headers
from sip.message.message import Request, Response

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE"
AGENT = "recorder-simulate"


@dataclass(frozen=True, slots=True)
class Self:
    """Our address on one connection."""

    transport: str
    """udp, tcp or tls."""
    host: str
    """Own address, an IPv6 one in brackets."""
    port: int
    """Own port."""

    @property
    def contact(self) -> str:
        """Contact of a recording client (RFC 7866 section 6.1.1)."""
        return f"<sip:recorder-simulate@{self.host}:{self.port};transport={self.transport}>;+sip.src"

    def via(self, branch: str) -> str:
        """Return a Via value; answers come back to the source port (RFC 3581)."""
        return f"SIP/2.0/{self.transport.upper()} {self.host}:{self.port};branch={branch};rport"


@dataclass(slots=True)
class Dialog:
    """State of one dialog."""

    target: str
    """Request-URI: the recorder's, later its Contact."""
    to: str
    """To value without tag."""
    sender: str
    """From value with our tag."""
    call_id: str
    """Call-ID."""
    to_value: str = ""
    """To value with the recorder's tag once known."""
    routes: list[str] = field(default_factory=list)
    """Route set in the order to send."""
    cseq: int = 0
    """Number of the last request."""
    asks: int = 0
    """CSeq of the recorder's last request."""

    def request(
        self, method: str, me: Self, branch: str, body: tuple[str, str | None, bytes] = ("", None, b"")
    ) -> Request:
        """Build the next request of the dialog."""
        self.cseq += 1
        headers = self._head(method, me, branch, self.cseq)
        if method in ("INVITE", "UPDATE"):
            headers.add("Contact", me.contact)
            headers.add("Allow", ALLOW)
            headers.add("Supported", "timer")
            headers.add("Accept", "application/sdp, application/rs-metadata-request")
        if method == "INVITE":
            headers.add("Require", "siprec")
        headers.add("User-Agent", AGENT)
        kind, disposition, content = body
        if content:
            headers.add("Content-Type", kind)
            if disposition:
                headers.add("Content-Disposition", disposition)
        return Request(method, self.target, headers=headers, body=content)

    def ack(self, response: Response, me: Self, branch: str, invite: Request) -> Request:
        """Build the ACK of a response.

        After a 2xx it has its own branch (RFC 3261 section 13.2.2.4), otherwise that of the INVITE (section 17.1.1.3).
        """
        number = invite.cseq.number
        if 200 <= response.status < 300:
            return Request("ACK", self.target, headers=self._head("ACK", me, branch, number))
        headers = self._head("ACK", me, invite.via.branch or branch, number)
        headers.set("To", response.headers.get("To") or self.to)
        return Request("ACK", invite.uri, headers=headers)

    def _head(self, method: str, me: Self, branch: str, number: int) -> Headers:
        headers = Headers([("Via", me.via(branch)), ("Max-Forwards", "70")])
        for route in self.routes:
            headers.add("Route", route)
        fields = (
            ("From", self.sender),
            ("To", self.to_value or self.to),
            ("Call-ID", self.call_id),
            ("CSeq", f"{number} {method}"),
        )
        for name, value in fields:
            headers.add(name, value)
        return headers

    def established(self, response: Response) -> None:
        """Take tag, route set and remote target from a 2xx (RFC 3261 sections 12.1.2 and 12.2.1.2)."""
        if not self.to_value:
            self.to_value = response.headers.get("To") or self.to
            self.routes = list(reversed(response.headers.values("Record-Route")))
        self.refresh(response.headers.get("Contact"))

    def refresh(self, contact: str | None) -> None:
        """Take a new remote target."""
        try:
            self.target = NameAddr.parse(contact).uri if contact else self.target
        except SipError:
            return  # a damaged Contact leaves the old target


def reply(
    request: Request,
    status: int,
    reason: str,
    *,
    extra: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    tag: str = "",
) -> Response:
    """Build the answer to a request of the recorder (RFC 3261 section 8.2.6)."""
    headers = Headers()
    for name in ("Via", "Record-Route"):
        for value in request.headers.all(name):
            headers.add(name, value)
    for name in ("From", "To", "Call-ID", "CSeq"):
        value = request.headers.get(name) or ""
        headers.add(name, f"{value};tag={tag}" if name == "To" and tag and ";tag=" not in value.lower() else value)
    for name, value in extra:
        headers.add(name, value)
    if body:
        headers.add("Content-Type", "application/sdp")
    return Response(status, reason, headers, body)
