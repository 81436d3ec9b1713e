"""Find the SDP and the rs-metadata in a body, and whether the body has a required part that we do not understand.

Neither is parsed here; both are returned as received.
"""

from __future__ import annotations

from dataclasses import field

from sip.errors import RemoteError
from sip.message.headers import Headers
from sip.message.multipart import Part, parts_of
from sip.message.value import small_value

SDP = "application/sdp"
# Dispositions of parts that are only for display or that other header fields refer to: they may be ignored (RFC 5621
# section 5).
FOR_SHOW = frozenset({"by-reference", "icon", "alert", "render"})


@small_value
class Contents:
    """The contents of a body."""

    # SDP, None if there is none.
    offer: bytes | None = field(default=None, repr=False)
    # rs-metadata, None if there is none.
    metadata: bytes | None = field(default=None, repr=False)
    # Further rs-metadata, to be applied after the first.
    later: tuple[bytes, ...] = field(default=(), repr=False)
    # A required part is of a type that we do not understand (RFC 3261 section 8.2.3).
    strange: bool = False


NOTHING = Contents()


def contents(headers: Headers, body: bytes) -> Contents:
    """Search a body; of several offers, take the first that is not empty."""
    if not body or body.isspace():
        return NOTHING
    offer: bytes | None = None
    metadata: bytes | None = None
    later: list[bytes] = []
    strange = False
    for part in parts_of(headers, body):
        if part.is_sdp:
            offer = offer or part.body
        elif part.is_metadata:
            if metadata and part.body and not part.spare:
                later.append(part.body)
            metadata = metadata or part.body
        else:
            strange = strange or _must_understand(part)
    return Contents(offer, metadata, tuple(later), strange)


def refused_body(headers: Headers, found: Contents) -> RemoteError | None:
    """Return the 415 with which a body must be refused, or None."""
    if "Content-Encoding" in headers and set(headers.tokens("Content-Encoding")) - {"identity"}:
        return RemoteError("content-encoding", 415)
    return RemoteError("body-type", 415) if found.strange else None


def takes_sdp(headers: Headers) -> bool:
    """Return whether the peer accepts SDP (406 if not); an absent or empty Accept allows it."""
    if "Accept" not in headers:
        return True
    ranges = [value.partition(";")[0].strip().lower() for value in headers.values("Accept")]
    return not ranges or any(wanted in (SDP, "application/*", "*/*", "*") for wanted in ranges)


def _must_understand(part: Part) -> bool:
    if not part.body.strip() and "Content-Type" not in part.headers:
        return False  # two delimiters with nothing in between
    return part.required and part.disposition not in FOR_SHOW
