"""Split and compose MIME bodies (RFC 2046 section 5.1, RFC 5621); of a damaged body, return the parts that are found.

Nothing here raises: a body never decides whether a call is recorded. Bodies are split as bytes, and line ends stay as
they came (AudioCodes sends bare LF and counts it as such).
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from itertools import islice

from sip.errors import MalformedValue
from sip.message.grammar import MAX_FIELDS, TOKEN, params
from sip.message.header_values import MediaType
from sip.message.headers import USUAL_NAMES, Headers, full_name
from sip.message.value import small_value

MAX_PARTS = 32
"""Parts of one message, including nested ones; the most seen is 4."""
MAX_DELIMITERS = 1_000
"""Lines that begin like a delimiter; limits the work for a body made of nothing else."""
MAX_DEPTH = 4
"""Levels of nested multiparts."""
SDP = MediaType("application", "sdp")
METADATA = MediaType("application", "rs-metadata+xml")
"""RFC 9806; RFC 7866 said rs-metadata."""
MULTIPART = MediaType("multipart", "mixed")
UNKNOWN = MediaType("application", "octet-stream")
_USUAL_TYPES = {kind.essence: kind for kind in (SDP, METADATA, MediaType("application", "rs-metadata"))}
_METADATA_TYPES = ("application/rs-metadata+xml", "application/rs-metadata")
_XML_TYPES = ("application/xml", "text/xml", "text/plain", "application/octet-stream")
_RECORDING = re.compile(rb"<(?:[\w.-]+:)?recording(?:_metadata)?[\s>]")
_FIRST_LINE = re.compile(rb"(?:\A|\n)--([^\r\n]{1,200}?)[ \t]{0,64}\r?\n")
_UNTYPED = re.compile(rb"\s{0,64}--[^\s-][^\r\n]{0,200}\r?\n(?:content-|\r?\n)", re.IGNORECASE)
_LINE_END = re.compile(rb"(--)?[ \t]*(?:\r?\n|\Z)")
_LINE = re.compile(rb"[^\n]*\n?")
_HEAD_PEEK = 4_096
"""Bytes inspected to recognise a part without a type."""


@small_value
class Part:
    """One leaf part of a body."""

    headers: Headers
    """Header fields of the part."""
    media_type: MediaType
    """Its Content-Type; guessed from the content if missing or unreadable."""
    disposition: str | None
    """Content-Disposition in lower case, without parameters."""
    body: bytes = field(repr=False)
    """Content, decoded from its transfer encoding."""
    spare: bool = False
    """One of several alternatives; understanding one of them is enough."""

    @property
    def required(self) -> bool:
        """Return whether an unknown part must be refused (RFC 3261 section 20.11); that is the default."""
        pairs = params((self.headers.get("Content-Disposition") or "").partition(";")[2])
        return (dict(pairs).get("handling") or "required").strip().lower() != "optional"

    @property
    def is_sdp(self) -> bool:
        """Return whether this is an offer or answer."""
        return self.media_type.essence == SDP.essence

    @property
    def is_metadata(self) -> bool:
        """Return whether this is recording metadata: by type, disposition (RFC 7866 section 9.1) or content."""
        essence = self.media_type.essence
        if essence in _METADATA_TYPES or (self.disposition == "recording-session" and not self.is_sdp):
            return True
        # Metadata also come with misspelt types (rs-metadata-xml, vnd.…+xml) or without any.
        looked_at = essence in _XML_TYPES or essence.endswith("xml")
        return looked_at and _RECORDING.search(self.body[:_HEAD_PEEK]) is not None


def split(content_type: str, body: bytes, headers: Headers | None = None) -> tuple[Part, ...]:
    """Return the leaf parts of a body in order, from nested multiparts too.

    `headers` are those of the message: its disposition and encoding apply to a body that is no multipart.
    """
    if not body:
        return ()
    outer = headers.copy() if headers is not None else Headers()
    outer.set("Content-Type", content_type.replace("\n", " ").replace("\r", " "))
    return tuple(_leaves(outer, body, 0)[:MAX_PARTS])


def parts_of(headers: Headers, body: bytes) -> tuple[Part, ...]:
    """Return the leaf parts of a message's body."""
    types = headers.all("Content-Type")
    if len(types) == 1 and body:
        return tuple(_leaves(headers, body, 0)[:MAX_PARTS])
    return split(types[0] if types else "", body, headers)


def compose(parts: Sequence[tuple[MediaType, str | None, bytes]], boundary: str) -> tuple[str, bytes]:
    """Write (type, disposition, content) parts as multipart/mixed; return the Content-Type and the body.

    The caller chooses a boundary that occurs in no part, for example 24 random hex digits.
    """
    out = bytearray()
    for media_type, disposition, content in parts:
        out += f"--{boundary}\r\nContent-Type: {media_type}\r\n".encode()
        out += f"Content-Disposition: {disposition}\r\n".encode() if disposition else b""
        out += b"\r\n" + content + b"\r\n"
    out += f"--{boundary}--\r\n".encode()
    return f"multipart/mixed;boundary={boundary}", bytes(out)


def _leaves(headers: Headers, body: bytes, depth: int) -> list[Part]:
    """Return the leaf parts in order, at most MAX_PARTS sections of every multipart."""
    media_type = _media_type(headers, body)
    if media_type.kind != "multipart" or depth >= MAX_DEPTH:
        disposition = (headers.get("Content-Disposition") or "").partition(";")[0].strip().lower()
        content = _decoded(headers, body)
        if content is not body and media_type == UNKNOWN:
            media_type = _guess(content[:_HEAD_PEEK])
        return [Part(headers, media_type, disposition or None, content)]
    found: list[Part] = []
    for content in islice(_sections(media_type.param("boundary"), body), MAX_PARTS):
        found += _leaves(*_open(content), depth + 1)
        if len(found) >= MAX_PARTS:
            break
    return _chosen(found) if media_type.subtype == "alternative" else found


def _chosen(alternatives: list[Part]) -> list[Part]:
    """Return the known alternatives, the last first, since it is the richest (RFC 2046 section 5.1.4); else all.

    The other alternatives may be ignored.
    """
    known = [part for part in reversed(alternatives) if part.is_sdp or part.is_metadata]
    return [replace(part, spare=True) for part in known] or alternatives


def _media_type(headers: Headers, body: bytes) -> MediaType:
    text = headers.get("Content-Type") or ""
    if text in _USUAL_TYPES:
        return _USUAL_TYPES[text]
    try:
        return MediaType.parse(text)
    except MalformedValue:
        return _guess(body[:_HEAD_PEEK])


def _guess(start: bytes) -> MediaType:
    if start.lstrip().startswith(b"v=0"):
        return SDP
    if _UNTYPED.match(start):
        return MULTIPART
    return METADATA if _RECORDING.search(start) else UNKNOWN


def _sections(boundary: str | None, body: bytes) -> Iterator[bytes]:
    """Split at the delimiter lines; if the declared one never occurs, use the first line that looks like one."""
    marks = list(_marks(boundary.rstrip().encode("utf-8", "surrogateescape"), body)) if boundary else []
    if not marks and (seen := _FIRST_LINE.search(body)):
        marks = list(_marks(seen[1].rstrip(), body))
    for (_, start, closing), (end, _, _) in zip(marks, [*marks[1:], (len(body), 0, True)], strict=False):
        if closing:
            return
        yield body[start:end]


def _marks(boundary: bytes, body: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield (end of the text before, start of the text after, closing) of each delimiter line, up to the closing one.

    The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1).
    """
    needle = b"\n--" + boundary
    # The first delimiter has no line end before it.
    at = -1 if body.startswith(needle[1:]) else body.find(needle)
    for _ in range(MAX_DELIMITERS):
        after = _LINE_END.match(body, at + len(needle))
        if after:
            begin = at - 1 if at > 0 and body[at - 1] == 0x0D else max(at, 0)
            yield begin, after.end(), after[1] is not None
        at = body.find(needle, at + len(needle))
        if at < 0 or (after and after[1]):
            return


def _open(content: bytes) -> tuple[Headers, bytes]:
    """Separate the header fields of a section from its content; a line that is no field starts the content."""
    fields: list[tuple[str, str]] = []
    at = 0
    for line in islice(_LINE.finditer(content), MAX_FIELDS):
        text = line[0].decode("utf-8", "replace").rstrip("\r\n")
        name, colon, value = text.partition(":")
        if not text.strip():
            return Headers.received(fields), content[line.end() :]
        if text[0] in " \t" and fields:
            fields[-1] = (fields[-1][0], f"{fields[-1][1]} {text.strip()}")
        elif colon and (name in USUAL_NAMES or TOKEN.fullmatch(name.strip())):
            fields.append((full_name(name.strip()), value.strip()))
        else:
            break
        at = line.end()
    return Headers.received(fields), content[at:]


def _decoded(headers: Headers, body: bytes) -> bytes:
    encoding = (headers.get("Content-Transfer-Encoding") or "").strip(' \t"').lower()
    if encoding == "quoted-printable":
        return quopri.decodestring(body)
    if encoding != "base64":
        return body
    try:
        content = b"".join(body.split())
        return base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except binascii.Error:
        return body
