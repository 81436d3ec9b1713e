"""Write session descriptions (RFC 8866). All their lines are written here.

A line is a pair of letter and value, as in `sip.sdp.description.SessionDescription`; `write` turns lines into bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

from sip.sdp.description import Format, Pairs, family_of

Line = tuple[str, str]
"""Letter and value."""


def write(lines: Iterable[Line]) -> bytes:
    """Write lines; bytes that were no UTF-8 when they were read are written unchanged."""
    return "".join([f"{letter}={value}\r\n" for letter, value in lines]).encode("utf-8", "surrogateescape")


def session_lines(address: str, session_id: int, version: int, *, user: str = "-", times: str = "0 0") -> list[Line]:
    """Return the session level lines of a description of ours (section 5); all media are received at `address`."""
    kind = family_of(address)
    origin = ("o", f"{user} {session_id} {version} IN {kind} {address}")
    return [("v", "0"), origin, ("s", "-"), ("c", f"IN {kind} {address}"), ("t", times)]


def media_line(kind: str, port: int, profile: str, payloads: Iterable[object]) -> Line:
    """Return an m-line (section 5.14)."""
    return ("m", f"{kind} {port} {profile} {' '.join(map(str, payloads))}")


def attribute(name: str, value: object = None) -> Line:
    """Return an attribute, with or without a value."""
    return ("a", name if value is None else f"{name}:{value}")


def format_lines(form: Format) -> list[Line]:
    """Return the attributes that describe a payload type (section 6.6); empty if its encoding is unknown."""
    lines = []
    if form.encoding:
        channels = f"/{form.channels}" if form.channels > 1 else ""
        lines.append(("a", f"rtpmap:{form.payload_type} {form.encoding}/{form.clock}{channels}"))
    if form.fmtp:
        lines.append(("a", f"fmtp:{form.payload_type} {form.fmtp}"))
    return lines


def crypto(suite: str, key: bytes, *, tag: int = 1, padded: bool = True) -> Line:
    """Return an SDES attribute (RFC 4568 section 9.1); `key` is key and salt."""
    text = base64.b64encode(key).decode()
    return attribute("crypto", f"{tag} {suite} inline:{text if padded else text.rstrip('=')}")


def renumbered(lines: Pairs, version: int) -> list[Line]:
    """Return session level lines with another version in the o= line (RFC 3264 section 8)."""
    return [(letter, _renumbered(value, version) if letter == "o" else value) for letter, value in lines]


def _renumbered(origin: str, version: int) -> str:
    words = origin.split()
    return " ".join([*words[:2], str(version), *words[3:]])
