"""Requests and responses (RFC 3261 section 7): parse and write whole messages, and check requests as a server must.

`Head.cut` and `parse` only split: start line, raw header fields, body by length. `check` then applies the rules that
RFC 4475 tests. Damaged header fields are ignored unless an answer needs them (RFC 3261 section 8.2): a refused call is
a call not recorded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sip.errors import MalformedMessage, MalformedValue, UnsafeOutput
from sip.message.body import Contents, contents
from sip.message.grammar import (
    MAX_BODY,
    MAX_FIELDS,
    MAX_FORWARDS,
    MAX_HEAD,
    MAX_START_LINE,
    SCHEME,
    TOKEN,
    has_empty_element,
    head_end,
    quotes_closed,
)
from sip.message.header_values import CSeq, NameAddr, Via
from sip.message.headers import USUAL_NAMES, Headers, full_name
from sip.message.replaces import Replaces, insisted, replaces
from sip.message.uri import Uri

VERSION = "SIP/2.0"
SCHEMES = ("sip", "sips", "tel")
"""Schemes of a Request-URI that we support (RFC 3261 section 8.2.2.1)."""
_STATUS = re.compile(r"(SIP/\d+\.\d+) (\d{3})(?: (.*))?\Z", re.DOTALL | re.IGNORECASE | re.ASCII)
_SIP_VERSION = re.compile(r"SIP/\d+\.\d+\Z", re.IGNORECASE | re.ASCII)
_FOLD = re.compile(r"\n[ \t]+")
_DIGITS = re.compile(r"[0-9]+\Z")
_ONCE = frozenset({"Call-ID", "CSeq", "From", "To", "Max-Forwards"})
_NEEDED = frozenset({"Via", "From", "To", "Call-ID", "CSeq"})


@dataclass(slots=True)  # not frozen: it caches parsed values
class Request:
    """A request as received or to be sent."""

    method: str
    """As sent; methods are case-sensitive."""
    uri: str = field(repr=False)
    """Request-URI, raw."""
    version: str = VERSION
    """In upper case."""
    headers: Headers = field(default_factory=Headers)
    """All header fields, unparsed."""
    body: bytes = field(default=b"", repr=False)
    """Exactly as many bytes as Content-Length says."""
    _target: Uri | None = field(default=None, init=False, repr=False, compare=False)
    _contents: Contents | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def target(self) -> Uri:
        """Parsed Request-URI; raise MalformedValue."""
        if self._target is None:
            self._target = Uri.parse(self.uri)
        return self._target

    @property
    def contents(self) -> Contents:
        """SDP and rs-metadata of the body."""
        if self._contents is None:
            self._contents = contents(self.headers, self.body)
        return self._contents

    @property
    def via(self) -> Via:
        """Top Via; raise MalformedValue."""
        return self.headers.once(top_via)

    @property
    def cseq(self) -> CSeq:
        """CSeq; raise MalformedValue."""
        return self.headers.once(_cseq)

    @property
    def call_id(self) -> str:
        """Call-ID; empty if there is none."""
        return self.headers.get("Call-ID") or ""

    @property
    def sender(self) -> NameAddr:
        """From; raise MalformedValue."""
        return self.headers.once(_sender)

    @property
    def recipient(self) -> NameAddr:
        """To; raise MalformedValue."""
        return self.headers.once(_recipient)

    @property
    def replaces(self) -> Replaces | None:
        """The dialog that an INVITE replaces, or None; raise MalformedValue."""
        return self.headers.once(replaces)

    def __bytes__(self) -> bytes:
        return _write(f"{self.method} {self.uri} {self.version}", self.headers, self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """A response as received or to be sent."""

    status: int
    """100 to 699."""
    reason: str = ""
    """Reason phrase; may be empty."""
    headers: Headers = field(default_factory=Headers)
    """All header fields, unparsed."""
    body: bytes = field(default=b"", repr=False)
    """Exactly as many bytes as Content-Length says."""
    version: str = VERSION
    """In upper case."""

    @property
    def via(self) -> Via:
        """Top Via; raise MalformedValue."""
        return self.headers.once(top_via)

    @property
    def cseq(self) -> CSeq:
        """CSeq; raise MalformedValue."""
        return self.headers.once(_cseq)

    @property
    def call_id(self) -> str:
        """Call-ID; empty if there is none."""
        return self.headers.get("Call-ID") or ""

    def __bytes__(self) -> bytes:
        return _write(f"{self.version} {self.status} {self.reason}", self.headers, self.body)


def top_via(headers: Headers) -> Via:
    """Parse the top Via; raise MalformedValue."""
    elements = headers.values("Via")
    if not elements:
        raise MalformedValue("via")
    return Via.parse(elements[0])


def _cseq(headers: Headers) -> CSeq:
    return CSeq.parse(headers.get("CSeq") or "")


def _sender(headers: Headers) -> NameAddr:
    return NameAddr.parse(headers.get("From") or "")


def _recipient(headers: Headers) -> NameAddr:
    return NameAddr.parse(headers.get("To") or "")


def _write(start: str, headers: Headers, body: bytes) -> bytes:
    """Write a message; Content-Length is always computed and always last."""
    if "\n" in start or "\r" in start:
        raise UnsafeOutput("line end in a start line")
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name != "Content-Length")
    head = f"{start}\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("utf-8", "surrogateescape") + body


@dataclass(slots=True)
class Head:
    """Start line and header fields of one message, split but not checked."""

    start: str = field(repr=False)
    """Start line."""
    headers: Headers
    """All header fields, unparsed."""
    damage: str | None
    """An error in the whole message: too-many-fields, start-line-size."""
    length: int | None
    """Value of Content-Length; None if there is none or it is unreliable."""
    fault: str | None
    """Why it is unreliable."""

    @classmethod
    def cut(cls, data: bytes) -> Head:
        """Split a head, without the blank line after it, into start line and raw fields."""
        text = data.lstrip(b"\r\n").decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", " ")
        if "\n " in text or "\n\t" in text:
            text = _FOLD.sub(" ", text)
        lines = text.split("\n")
        fields: list[tuple[str, str]] = []
        for line in lines[1 : MAX_FIELDS + 1]:
            name, colon, value = line.partition(":")
            full = USUAL_NAMES.get(name)
            if full is None:
                name = name.rstrip(" \t")
                full = full_name(name) if TOKEN.fullmatch(name) else ""
            # A line that is no field is ignored, like any other damaged field that is not needed.
            if colon and full:
                fields.append((full, value.strip(" \t")))
        headers = Headers.received(fields)
        damage = "start-line-size" if len(lines[0]) > MAX_START_LINE else None
        if len(lines) > MAX_FIELDS + 1:
            damage = "too-many-fields"
        return cls(lines[0], headers, damage, *_content_length(headers))


@dataclass(slots=True)
class Framed:
    """One whole message, as `sip.message.framing.Framer` cuts it from a stream."""

    head: Head
    """Its head; the body length is known."""
    body: bytes = field(repr=False)
    """As many bytes as the head says."""


def parse(data: bytes | Framed) -> Request | Response:
    """Parse one whole message: a datagram, or what `Framer` cut from a stream.

    Without Content-Length the rest is the body; bytes after the body are dropped (RFC 3261 section 18.3). Raise
    MalformedMessage; its `request` is set if it can be answered.
    """
    if isinstance(data, Framed):
        return _read(data.head, data.body, whole=True)
    data = data.lstrip(b"\r\n")
    end = head_end(data)
    head = data[: end[0]] if end else data
    if len(head) > MAX_HEAD:
        raise MalformedMessage("head-size", 513, salvage(Head.cut(head[:MAX_HEAD])))
    return _read(Head.cut(head), data[end[1] :] if end else b"", whole=end is not None)


def salvage(head: Head) -> Request | None:
    """Return as much of a damaged request as an answer needs; None if its top Via is unusable or it is no request."""
    if head.start[:4].upper() == "SIP/":
        return None
    words = head.start.split()
    request = Request(words[0] if words else "", words[1] if len(words) > 1 else "", _version(words), head.headers)
    return request if _answerable(request) else None


def _read(head: Head, rest: bytes, *, whole: bool) -> Request | Response:
    if head.start[:4].upper() == "SIP/":
        return _response(head, rest)
    return _request(head, rest, whole=whole)


def _version(words: list[str]) -> str:
    return words[-1].upper() if len(words) > 2 and _SIP_VERSION.match(words[-1]) else VERSION


def _answerable(request: Request) -> bool:
    try:
        return bool(request.via.host)
    except MalformedValue:
        return False


def _response(head: Head, rest: bytes) -> Response:
    found = _STATUS.match(head.start)
    if head.damage or found is None or not 100 <= int(found[2]) <= 699:
        raise MalformedMessage(head.damage or "status-line")
    if head.fault or (head.length or 0) > len(rest):
        raise MalformedMessage(head.fault or "body-cut")
    body = rest if head.length is None else rest[: head.length]
    return Response(int(found[2]), found[3] or "", head.headers, body, found[1].upper())


def _request(head: Head, rest: bytes, *, whole: bool) -> Request:
    # Blanks after the version are tolerated, since devices send them (RFC 4475 section 3.1.2.10).
    words = head.start.rstrip(" \t").split(" ")
    length, fault = head.length, head.fault
    if len(words) != 3 or not TOKEN.fullmatch(words[0]) or not words[1] or not _SIP_VERSION.match(words[2]):
        fault = "start-line"
    elif not whole and length != 0:
        fault = fault or "no-end-of-head"
    elif (length or 0) > len(rest):
        fault = fault or "body-cut"
    if head.damage or fault:
        raise _refusal(head.damage or fault or "", head)
    return Request(words[0], words[1], words[2].upper(), head.headers, rest if length is None else rest[:length])


def _refusal(code: str, head: Head) -> MalformedMessage:
    """Return the error for a request that could not be split; 505 and 416 take precedence over 400."""
    words = head.start.split()
    request = Request(words[0] if words else "", words[1] if len(words) > 1 else "", _version(words), head.headers)
    fault = _unserved(request) if len(words) == 3 else None
    status = fault.status if fault else 400
    return MalformedMessage(fault.code if fault else code, status, request if _answerable(request) else None)


def _content_length(headers: Headers) -> tuple[int | None, str | None]:
    """Return the body length (None if absent), and why it is unreliable, if so (RFC 3261 section 20.14).

    A list, a sign, or two different values can be used to smuggle one message inside another.
    """
    found = headers.all("Content-Length")
    if not found:
        return None, None
    value = found[0]
    if found.count(value) < len(found) or not _DIGITS.match(value):
        return None, "content-length"
    digits = value.lstrip("0") or "0"
    # Eight digits are enough for MAX_BODY; more would only slow down int().
    if len(digits) > 8 or int(digits) > MAX_BODY:
        return None, "body-size"
    return int(digits), None


def check(request: Request) -> None:
    """Check a request as a server must before it acts on it (RFC 3261 sections 8.1.1 and 8.2, RFC 4475).

    Raise MalformedMessage with 505, 416 or 400, in this order; its `request` is None if it cannot be answered at all.
    """
    fault = _unserved(request) or _fault(request)
    if fault is not None:
        raise MalformedMessage(fault.code, fault.status, request if _answerable(request) else None)


def _unserved(request: Request) -> MalformedMessage | None:
    if request.version != VERSION:
        return MalformedMessage("version", 505)
    scheme = SCHEME.match(request.uri)
    if scheme is not None and scheme[1].lower() not in SCHEMES:
        return MalformedMessage("uri-scheme", 416)
    return None


def _fault(request: Request) -> MalformedMessage | None:
    """Return the first reason for a 400."""
    headers = request.headers
    if not headers.has_all(_NEEDED):
        return MalformedMessage("field-missing")
    if headers.has_twice(_ONCE):
        return MalformedMessage("field-twice")
    try:
        if request.target.headers is not None:
            # Header fields in the URI would have to be added to our own request (RFC 4475 section 3.1.2.11).
            raise MalformedValue("uri-headers")
        _check_via(request)
        _check_cseq(request)
        _check_dialog(request)
        _check_contact(headers)
        _check_replaces(request)
    except MalformedMessage as error:
        return error
    return None


def _check_via(request: Request) -> None:
    if has_empty_element(request.headers.get("Via") or ""):
        raise MalformedValue("via")
    if request.via.protocol != VERSION:
        raise MalformedValue("via-version")


def _check_cseq(request: Request) -> None:
    if request.cseq.method != request.method:
        raise MalformedValue("cseq-method")
    hops = request.headers.get("Max-Forwards")
    if hops is not None and (not _DIGITS.match(hops) or len(hops.lstrip("0")) > 3 or int(hops) > MAX_FORWARDS):
        raise MalformedValue("max-forwards")


def _check_dialog(request: Request) -> None:
    """Check From, To and Call-ID, without which a dialog cannot be identified."""
    call_id = request.call_id
    if not call_id or " " in call_id or "\t" in call_id:
        raise MalformedValue("call-id")
    for value in (request.sender, request.recipient):
        if len(value.params) > 1 and sum(name == "tag" for name, _ in value.params) > 1:
            raise MalformedValue("tag")


def _check_contact(headers: Headers) -> None:
    for value in headers.all("Contact"):
        if not quotes_closed(value):
            raise MalformedValue("quote")
        if has_empty_element(value):
            raise MalformedValue("contact")
        if "?" in value and "<" not in value:
            # Without <> it is unclear to what a question mark belongs (RFC 3261 section 20).
            raise MalformedValue("contact")


def _check_replaces(request: Request) -> None:
    """Refuse Replaces except in an INVITE (RFC 3891 section 3) or an ACK, which is never refused.

    A re-INVITE cannot replace a dialog either, but it is refused only if the client insists: some clients repeat the
    headers of the first INVITE, and without the refresh their recording would end.
    """
    if "Replaces" not in request.headers or request.method == "ACK":
        return
    again = request.recipient.tag is not None and insisted(request.headers)
    if request.method != "INVITE" or again:
        raise MalformedValue("replaces")
    request.headers.once(replaces)
