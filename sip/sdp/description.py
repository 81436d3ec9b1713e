"""Session descriptions (RFC 8866) as clients really send them. Every line is kept; what an answer needs is parsed.

Tolerated: LF line ends, blank lines, missing s=, t= or c=, unknown letters, lines that are no SDP, payload types
without rtpmap, clock rates followed by letters. A damaged m-line remains an m-line, because each must be answered.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from sip.errors import MalformedBody
from sip.message.grammar import readable

MAX_SDP = 256 * 1024
"""Longest description in bytes; the longest offer seen has 5 kB."""
MAX_LINES = 4_000
"""Most lines in one description."""
MAX_ADDRESSES = 1024
"""Number of parsed addresses kept: an SBC has a handful, and each is needed six times per offer."""
MAX_LISTS = 64
"""Lists of payload types that are kept: an SBC has a few, and offers them with every call."""
MAX_MEDIA = 256
"""Most m-lines; each needs an answer line, refused ones too."""
Pairs = tuple[tuple[str, str], ...]
"""Lines as (letter, value) or attributes as (name, value), in order."""
RESERVED = 240
"""First byte of the reserved IPv4 addresses; the last of them is the broadcast address (RFC 1112, RFC 919)."""
FAMILIES = frozenset({"IP4", "IP6"})
"""Address types of a c= line (RFC 8866 section 5.7)."""
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_LINE = re.compile(r"[ \t]*([A-Za-z])=(.*)", re.DOTALL)
_RTPMAP = re.compile(r"(\d{1,3})\s+([^/\s]+)\s*(?:/\s*(\d{1,9})[^/]*(?:/\s*(\d{1,3}))?)?", re.ASCII)
_NUMBER = re.compile(r"\d{1,5}\Z", re.ASCII)

STATIC: dict[int, tuple[str, int, int]] = {
    0: ("PCMU", 8000, 1),
    2: ("G726-32", 8000, 1),
    3: ("GSM", 8000, 1),
    4: ("G723", 8000, 1),
    5: ("DVI4", 8000, 1),
    6: ("DVI4", 16000, 1),
    7: ("LPC", 8000, 1),
    8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
    12: ("QCELP", 8000, 1),
    13: ("CN", 8000, 1),
    14: ("MPA", 90000, 1),
    15: ("G728", 8000, 1),
    16: ("DVI4", 11025, 1),
    17: ("DVI4", 22050, 1),
    18: ("G729", 8000, 1),
    19: ("CN", 8000, 1),
    25: ("CelB", 90000, 1),
    26: ("JPEG", 90000, 1),
    28: ("nv", 90000, 1),
    31: ("H261", 90000, 1),
    32: ("MPV", 90000, 1),
    33: ("MP2T", 90000, 1),
    34: ("H263", 90000, 1),
}
"""RFC 3551 section 6: name, clock rate, channels. G.722 says 8000 although it samples at 16000; 19 is Cisco's comfort
noise; 2 was G721 and is used for G.726 at 32 kbit/s."""
_DYNAMIC = ("opus", "telephone-event", "iLBC", "AMR", "AMR-WB", "EVS", "speex", "G7221", "red", "rtx", "t140", "SILK")
_VIDEO = ("H264", "H265", "H263-1998", "H263-2000", "VP8", "VP9", "ulpfec")
_SPELLING = {name.lower(): name for name in (*(name for name, _, _ in STATIC.values()), *_DYNAMIC, *_VIDEO)}
"""Usual spelling by lower-case name: devices send `pcmu` and `OPUS`."""


class Format(NamedTuple):
    """One RTP payload type of an m-line."""

    payload_type: int
    """0 to 127."""
    encoding: str
    """Encoding name in its usual spelling; empty if unknown."""
    clock: int
    """RTP clock rate in Hz."""
    channels: int = 1
    """Audio channels."""
    fmtp: str | None = None
    """Format parameters as sent."""


class Connection(NamedTuple):
    """Where a party wants to receive its media (RFC 8866 section 5.7)."""

    kind: str
    """IP4 or IP6 as sent."""
    address: str
    """Without TTL or count."""

    @classmethod
    def parse(cls, text: str) -> Connection | None:
        """Read the value of a c= line; return None if it is malformed."""
        words = text.split()
        if len(words) < 3:
            return None
        return cls(words[1].upper(), words[2].partition("/")[0].strip("[]"))

    @property
    def ip(self) -> str | None:
        """Numeric address, IPv4 without its IPv6 mapping; None for a name."""
        return ip_of(self.address)

    @property
    def family(self) -> str:
        """IP4 or IP6: by the address itself, for a name by the line; empty if on hold or unknown."""
        ip = self.ip
        if ip is None:
            return self.kind if self.kind in FAMILIES else ""
        return "" if self.on_hold else family_of(ip)

    @property
    def on_hold(self) -> bool:
        """Whether it is 0.0.0.0 or ::, the old way to signal hold (RFC 3264 section 8.4)."""
        return self.ip in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def family_of(ip: str) -> str:
    """Return the c= address type of a numeric address."""
    return "IP6" if ":" in ip else "IP4"


@lru_cache(MAX_ADDRESSES)
def ip_of(text: str) -> str | None:
    """Return the plain form of a numeric address (`::ffff:192.0.2.1` is 192.0.2.1); None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


@lru_cache(MAX_ADDRESSES)
def of_one_host(ip: str) -> bool:
    """Return whether an address is that of one host: no multicast, broadcast, unspecified or reserved address."""
    address = ipaddress.ip_address(ip)
    if address.is_multicast or address.is_unspecified:
        return False
    return address.version == 6 or 0 < int(address) >> 24 < RESERVED


@dataclass(slots=True)
class MediaLine:
    """One m-line with everything below it, and what it inherits from the session level."""

    index: int
    """Index among the m-lines, from 0."""
    kind: str
    """audio, video, text, application, image, message or another word as sent, in lower case."""
    port: int
    """0 if the line is refused, removed or unreadable."""
    profile: str
    """Transport as sent, for example RTP/SAVP."""
    payloads: tuple[str, ...]
    """Formats as sent."""
    lines: Pairs = field(repr=False)
    """The lines of this section, m= first, as (letter, value)."""
    attributes: Pairs = field(repr=False)
    """a= lines as (name in lower case, value or empty string)."""
    connection: Connection | None
    """Its own c=, otherwise that of the session."""
    direction: str
    """Its own, otherwise that of the session, otherwise sendrecv (RFC 8866 section 6.7)."""
    setup: str | None
    """Offered DTLS role (RFC 4145), from here or the session level."""
    fingerprints: tuple[str, ...]
    """Certificate fingerprints (RFC 8122), from here or the session level."""
    _first: dict[str, str] = field(init=False, repr=False, compare=False)
    """The first value of each attribute: a dozen are looked up for every line."""

    def __post_init__(self) -> None:
        self._first = dict(reversed(self.attributes))

    def attribute(self, name: str) -> str | None:
        """Return the value of the first attribute with this name in this section, or None."""
        return self._first.get(name)

    def all_attributes(self, name: str) -> list[str]:
        """Return the values of all attributes with this name in this section."""
        return _values(self.attributes, name) if name in self._first else []

    @property
    def label(self) -> str | None:
        """Label (RFC 4574), an opaque word; None if absent or empty."""
        return (self.attribute("label") or "").strip() or None

    @property
    def formats(self) -> tuple[Format, ...]:
        """Payload types in the offered order, without duplicates."""
        maps, fmtps = tuple(self.all_attributes("rtpmap")), tuple(self.all_attributes("fmtp"))
        return _formats(self.kind, self.payloads, maps, fmtps)


@dataclass(slots=True)
class SessionDescription:
    """A whole offer or answer."""

    lines: Pairs = field(repr=False)
    """Session level lines as (letter, value)."""
    media: tuple[MediaLine, ...]
    """All m-lines in order."""

    @classmethod
    def parse(cls, data: bytes) -> SessionDescription:
        """Parse a description; raise MalformedBody if it has neither v= nor an m-line, or exceeds a limit."""
        lines = _lines(data)
        starts = [at for at, (letter, _) in enumerate(lines) if letter == "m"]
        if len(starts) > MAX_MEDIA:
            raise MalformedBody("sdp-size", 488)
        head = tuple(lines[: starts[0]] if starts else lines)
        if not starts and not any(letter == "v" for letter, _ in head):
            raise MalformedBody("sdp")
        session = _attributes(head)
        ends = [*starts[1:], len(lines)]
        sections = [tuple(lines[a:b]) for a, b in zip(starts, ends, strict=False)]
        return cls(head, tuple(_media(i, section, head, session) for i, section in enumerate(sections)))

    def value(self, letter: str) -> str | None:
        """Return the first session level line with this letter, or None."""
        return next((value for key, value in self.lines if key == letter), None)

    @property
    def version(self) -> str | None:
        """Version in o=: if it is unchanged, so is the description (RFC 3264 section 8)."""
        words = (self.value("o") or "").split()
        return words[2] if len(words) > 2 else None


@lru_cache(MAX_LISTS)
def _formats(kind: str, payloads: tuple[str, ...], maps: tuple[str, ...], fmtps: tuple[str, ...]) -> tuple[Format, ...]:
    """Read the payload types of a line, which thousands of calls offer alike."""
    named, params = _numbered(maps), _numbered(fmtps)
    numbers = dict.fromkeys(int(word) for word in payloads if word.isdecimal() and len(word) <= 3)
    return tuple(_format(kind, n, named.get(n), params.get(n)) for n in numbers if n <= 127)


def _numbered(values: Sequence[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for value in values:
        number, _, _ = value.partition(" ")
        if _NUMBER.match(number):
            found.setdefault(int(number), value)
    return found


def _format(kind: str, number: int, rtpmap: str | None, fmtp: str | None) -> Format:
    name, clock, channels = STATIC.get(number, ("", 8000 if kind == "audio" else 90000, 1))
    found = _RTPMAP.match(rtpmap) if rtpmap else None
    if found:
        name = _SPELLING.get(found[2].lower(), found[2])
        clock, channels = int(found[3] or 0) or clock, int(found[4] or 1) or 1
    return Format(number, name, clock, channels, fmtp.partition(" ")[2].strip() if fmtp else None)


def _lines(data: bytes) -> list[tuple[str, str]]:
    if len(data) > MAX_SDP:
        raise MalformedBody("sdp-size", 488)
    text = readable(data.decode("utf-8-sig", "surrogateescape"))
    # Some clients send the zero byte that ends a C string; a bare CR ends lines if there is no LF.
    ending = "\n" if "\n" in text else "\r"
    if text.count(ending) > MAX_LINES:
        raise MalformedBody("sdp-size", 488)
    lines = text.split(ending)
    found = (_LINE.match(line.rstrip("\r \0")) for line in lines)
    return [(line[1].lower(), line[2].replace("\r", " ")) for line in found if line]


def _attributes(lines: Pairs) -> Pairs:
    pairs = (value.partition(":") for letter, value in lines if letter == "a")
    return tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)


def _values(attributes: Pairs, name: str) -> list[str]:
    return [value for key, value in attributes if key == name]


def _connection(lines: Pairs) -> Connection | None:
    for letter, value in lines:
        if letter == "c" and (found := Connection.parse(value)):
            return found
    return None


def _direction(attributes: Pairs) -> str | None:
    for name, _ in attributes:
        if name in DIRECTIONS:
            return name
    return None


def _media(index: int, lines: Pairs, head: Pairs, session: Pairs) -> MediaLine:
    words = lines[0][1].split()
    kind, port, profile = (*words, "", "", "")[:3]
    own = _attributes(lines)
    number = port.partition("/")[0]
    value = int(number) if _NUMBER.match(number) else 0
    prints = _values(own, "fingerprint") or _values(session, "fingerprint")
    return MediaLine(
        index=index,
        kind=kind.lower(),
        port=value if value <= 65_535 else 0,
        profile=profile,
        payloads=tuple(words[3:]),
        lines=lines,
        attributes=own,
        connection=_connection(lines) or _connection(head),
        direction=_direction(own) or _direction(session) or "sendrecv",
        setup=next(iter(_values(own, "setup") or _values(session, "setup")), None),
        fingerprints=tuple(prints),
    )
