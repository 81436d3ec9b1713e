"""Everything the core of a recording can be told, as frozen values (see recorder.session.session)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from recorder.session.stream import Certificate
from sip.message.message import Request
from sip.sdp.plan import Addresses
from sip.ua.events import Token


class Now(NamedTuple):
    """One moment on both clocks; a tuple, since one is made for every event."""

    wall: datetime  # aware, UTC: what people are shown
    mono: float  # seconds of the monotonic clock: what durations are made of
    behind: timedelta = timedelta(0)  # how far the wall clock was set back since the daemon began

    @property
    def ns(self) -> int:
        """Return the wall clock as nanoseconds since 1970, the unit of the media records."""
        return int(self.wall.timestamp() * 1_000_000) * 1_000


@dataclass(frozen=True, slots=True)
class Offered:
    """The client offered media: the first INVITE, a re-INVITE or an UPDATE with SDP."""

    token: Token  # what the answer refers to
    request: Request
    offer: bytes  # raw SDP
    metadata: bytes | None  # raw rs-metadata, if any came along
    secure: bool  # the signalling is TLS
    ours: Addresses  # addresses of ours that the client can reach: the SDP answer's


@dataclass(frozen=True, slots=True)
class OfferWanted:
    """The client sent its first INVITE without SDP and waits for an offer of ours (RFC 3261 section 13.2.1)."""

    token: Token  # what the answer refers to
    request: Request
    metadata: bytes | None
    secure: bool  # the signalling is TLS
    ours: Addresses  # addresses of ours for the SDP


@dataclass(frozen=True, slots=True)
class Agreed:
    """The client answered an offer of ours: the first one in its ACK, a later one in its 200."""

    answer: bytes | None  # raw SDP
    asked: bytes = b""  # our offer, where it was a re-INVITE


@dataclass(frozen=True, slots=True)
class Informed:
    """The client told something without offering media; it is answered already."""

    request: Request
    metadata: bytes | None


@dataclass(frozen=True, slots=True)
class Opened:
    """Sockets were opened: the answer to commands.OpenSockets."""

    ports: Mapping[int, int]  # stream number -> our RTP port


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """No socket could be had; the offer is refused with 503."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The client withdrew its offer before the answer: a first one never was a call, a later one changes nothing."""


@dataclass(frozen=True, slots=True)
class HungUp:
    """The client sent BYE, which waits for its 200 until everything is durable."""

    token: Token
    request: Request
    metadata: bytes | None


@dataclass(frozen=True, slots=True)
class Lost:
    """The dialog is over without a BYE of the client: timer, no ACK, gone, ended by us."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The recorder itself wants the recording to end (shutdown, erasure order, storage)."""

    reason: str
    interrupted: bool  # whether audio is missing because of it


@dataclass(frozen=True, slots=True)
class Replaced:
    """The recording took the place of another, which has been told to end."""

    call: str  # id of the other


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """An administrator stops the keeping of what is said."""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """An administrator lets the recording go on."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A DTLS handshake of the media worker gave keys."""

    stream: int
    rtcp: bool  # they are those of the RTCP port
    suite: str
    theirs: bytes = field(repr=False)
    ours: bytes = field(repr=False)
    fingerprints: tuple[str, ...] = ()  # of the certificate that was asked for


@dataclass(frozen=True, slots=True)
class Unkeyed:
    """A DTLS handshake came to nothing: nothing of this stream can be kept."""

    stream: int
    reason: str


@dataclass(frozen=True, slots=True)
class Lingered:
    """Streams that a re-offer took out were heard until their client must have had the answer to it."""

    streams: tuple[int, ...]  # stream numbers


@dataclass(frozen=True, slots=True)
class Severed:
    """A worker died in the middle of a DTLS handshake with which nobody can go on."""

    certificate: Certificate  # another of ours, to ask for another handshake with


@dataclass(frozen=True, slots=True)
class MediaClosed:
    """The media worker has sealed the last part."""

    streams: Mapping[int, Mapping[str, Any]]
    clean: bool  # False: the worker could not seal it, or audio was dropped for want of disk


@dataclass(frozen=True, slots=True)
class Resumed:
    """The recording goes on in a new part after a process died."""

    part: str


@dataclass(frozen=True, slots=True)
class Distrusted:
    """What was recorded so far may lack something."""

    why: str = "sync-failed"  # so that it may not outlive a power cut; "spool-lost": with what was known of it


Event = (
    Offered
    | OfferWanted
    | Agreed
    | Informed
    | Opened
    | OpenFailed
    | Unwanted
    | HungUp
    | Lost
    | StopAsked
    | Replaced
    | PauseAsked
    | ResumeAsked
    | Keyed
    | Unkeyed
    | Lingered
    | Severed
    | MediaClosed
    | Resumed
    | Distrusted
)
