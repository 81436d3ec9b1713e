"""Values of header fields (addresses, Via, CSeq, media types), and the flow on which a message came."""

from __future__ import annotations

import re
from dataclasses import field

from sip.errors import MalformedValue
from sip.message.grammar import MAX_CSEQ, TOKEN, Params, params, quote, readable, unquote, write_params
from sip.message.uri import host_port, split_host_port
from sip.message.value import small_value

MAGIC_COOKIE = "z9hG4bK"
"""Magic cookie: the start of every RFC 3261 branch (section 8.1.1.7)."""
_NO_ADDRESS = re.compile(r'[ \t<>"]')
# What may precede the first < outside quotes; possessive, so that 64 KiB of quotes are scanned once.
_NAME = re.compile(r'(?:[^"<]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
# Text up to the first quote that is never closed.
_WHOLE_QUOTES = re.compile(r'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_VIA = re.compile(
    r"([^\s/]+)\s*/\s*([^\s/]+)\s*/\s*([^\s/;,]+)\s+(\[[^\]\s]*\]|[^\s:;,\[\]]+)\s*(?::\s*(\d{1,5}))?\s*(?:;|\Z)"
)
_CSEQ = re.compile(r"(\d+)\s+(\S+)\Z", re.ASCII)


@small_value
class Flow:
    """The path between us and a peer: a pair of UDP addresses or one connection."""

    transport: str
    """udp, tcp or tls."""
    local: tuple[str, int]
    """Our address and port."""
    remote: tuple[str, int]
    """The peer's address and port."""
    connection: int = 0
    """Number of the connection; 0 on UDP."""
    listener: int = 0
    """Number of the listener on which it came in."""
    certificate_names: tuple[str, ...] = ()
    """Verified subject alternative names of the peer's certificate."""


def _find(pairs: Params, name: str) -> str | None:
    for key, value in pairs:
        if key == name:
            return value or ""
    return None


@small_value
class NameAddr:
    """Value of From, To, Contact, Route and similar fields (RFC 3261 section 20.10)."""

    display: str = field(repr=False)
    """Display name without quotes; empty if there is none."""
    uri: str = field(repr=False)
    """The address as sent, without <>; `Uri.parse` parses it."""
    params: Params = ()
    """Parameters after the address, names in lower case, in order."""

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Parse one address; raise MalformedValue for an open quote, a missing address, or blanks in it."""
        address = cls.parse_leniently(text)
        if not address.uri or _NO_ADDRESS.search(address.uri):
            raise MalformedValue("addr-spec")
        return address

    @classmethod
    def parse_leniently(cls, text: str) -> NameAddr:
        """Parse one address despite blanks or a missing >; raise MalformedValue for an open quote."""
        text = readable(text).strip()
        start = _end_of(_NAME, text) if '"' in text else text.find("<")
        if 0 <= start < len(text):
            if text[start] == "<":
                return cls._bracketed(text, start)
            raise MalformedValue("quote")
        # Without <> every parameter belongs to the header field (section 20.10).
        where, _, tail = text.partition(";")
        return cls("", where.strip(), params(tail))

    @classmethod
    def _bracketed(cls, text: str, start: int) -> NameAddr:
        end = text.find(">", start)
        name = text[:start].strip()
        if end < 0:
            return cls(unquote(name), text[start + 1 :].strip())
        tail = text[end + 1 :].strip()
        if '"' in tail and _end_of(_WHOLE_QUOTES, tail) < len(tail):
            raise MalformedValue("quote")
        return cls(unquote(name), text[start + 1 : end], params(tail))

    def param(self, name: str) -> str | None:
        """Return the value of a parameter: None if absent, empty if it has no value."""
        return _find(self.params, name)

    @property
    def tag(self) -> str | None:
        """Dialog tag; None if absent."""
        return _find(self.params, "tag") or None

    def __str__(self) -> str:
        return (quote(self.display) + " " if self.display else "") + f"<{self.uri}>" + write_params(self.params)


def _end_of(pattern: re.Pattern[str], text: str) -> int:
    """Return how far a pattern that may match nothing reaches from the start."""
    found = pattern.match(text)
    return found.end() if found else 0


@small_value
class Via:
    """One hop of the response path (RFC 3261 section 20.42)."""

    protocol: str
    """SIP/2.0 without blanks."""
    transport: str
    """In upper case; may be unknown."""
    host: str
    """Host of sent-by; an IPv6 address without brackets."""
    port: int | None
    """Port of sent-by; None for the default of the transport."""
    params: Params = ()
    """branch, received, rport and others, names in lower case."""

    @classmethod
    def parse(cls, text: str) -> Via:
        """Parse one element of a Via list; raise MalformedValue."""
        text = " ".join(text.split())
        found = _VIA.match(text)
        if found is None:
            raise MalformedValue("via")
        host, port = split_host_port(found[4] + (f":{found[5]}" if found[5] else ""))
        pairs = params(text[found.end() :])
        return cls(f"{found[1]}/{found[2]}".upper(), found[3].upper(), host, port, pairs)

    def param(self, name: str) -> str | None:
        """Return the value of a parameter: None if absent, empty if it has no value."""
        return _find(self.params, name)

    @property
    def branch(self) -> str | None:
        """Transaction id; None if absent or if nothing follows the magic cookie (RFC 4475 section 3.2.1)."""
        value = _find(self.params, "branch")
        return value if value and value != MAGIC_COOKIE else None

    @property
    def sent_by(self) -> str:
        """Host and port in one form that can be compared."""
        return host_port(self.host.lower(), self.port)

    def with_params(self, **changes: str | None) -> Via:
        """Set parameters; existing ones keep their position."""
        pairs = [(k, changes.pop(k)) if k in changes else (k, v) for k, v in self.params]
        return Via(self.protocol, self.transport, self.host, self.port, (*pairs, *changes.items()))

    def __str__(self) -> str:
        return f"{self.protocol}/{self.transport} {host_port(self.host, self.port)}{write_params(self.params)}"


@small_value
class CSeq:
    """The position of a request in its dialog (RFC 3261 section 20.16)."""

    number: int
    """0 to 2**31 - 1."""
    method: str
    """As sent; methods are case-sensitive."""

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Parse a CSeq; raise MalformedValue unless it is a number in range and a method."""
        found = _CSEQ.match(text.strip())
        # Ten digits hold every number in range; leading zeros are legal (RFC 4475 section 3.1.1.1).
        digits = found[1].lstrip("0") if found else ""
        if found is None or len(digits) > 10 or (number := int(digits or 0)) > MAX_CSEQ:
            raise MalformedValue("cseq")
        if not TOKEN.fullmatch(found[2]):
            raise MalformedValue("cseq-method")
        return cls(number, found[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@small_value
class MediaType:
    """Value of Content-Type, or one range of an Accept (RFC 3261 section 20.15)."""

    kind: str
    """In lower case, for example application."""
    subtype: str
    """In lower case, for example sdp."""
    params: Params = ()
    """boundary, charset and others."""

    @classmethod
    def parse(cls, text: str) -> MediaType:
        """Parse a media type; raise MalformedValue unless it is two words with a slash."""
        essence, _, tail = text.partition(";")
        kind, _, subtype = essence.partition("/")
        kind, subtype = kind.strip().lower(), subtype.strip().lower()
        if not TOKEN.fullmatch(kind) or not TOKEN.fullmatch(subtype):
            raise MalformedValue("media-type")
        return cls(kind, subtype, params(tail))

    @property
    def essence(self) -> str:
        """Type and subtype without parameters."""
        return f"{self.kind}/{self.subtype}"

    def param(self, name: str) -> str | None:
        """Return the value of a parameter: None if absent, empty if it has no value."""
        return _find(self.params, name)

    def __str__(self) -> str:
        return self.essence + write_params(self.params)
