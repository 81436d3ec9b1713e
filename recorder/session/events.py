"""Events that a recording session receives, as frozen values (see recorder.session.session)."""

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
    """One moment on both clocks. A tuple because every event makes one."""

    wall: datetime  # aware, UTC: shown to people
    mono: float  # seconds of the monotonic clock, for durations
    behind: timedelta = timedelta(0)  # seconds by which the wall clock was set back since the daemon started

    @property
    def ns(self) -> int:
        """Return the wall clock as nanoseconds since 1970, the unit of the media records."""
        return int(self.wall.timestamp() * 1_000_000) * 1_000


@dataclass(frozen=True, slots=True)
class Offered:
    """The client offered media: the first INVITE, a re-INVITE or an UPDATE with SDP."""

    token: Token  # identifies the request to answer
    request: Request
    offer: bytes = field(repr=False)  # raw SDP
    metadata: bytes | None = field(repr=False)  # raw rs-metadata, if the request had any
    secure: bool  # the signalling runs over TLS
    ours: Addresses  # our addresses that the client can reach, for the SDP answer


@dataclass(frozen=True, slots=True)
class OfferWanted:
    """The client sent its first INVITE without SDP and waits for our offer (RFC 3261 section 13.2.1)."""

    token: Token  # identifies the request to answer
    request: Request
    metadata: bytes | None = field(repr=False)
    secure: bool  # the signalling runs over TLS
    ours: Addresses  # our addresses for the SDP


@dataclass(frozen=True, slots=True)
class Agreed:
    """The client answered our offer: the first one in its ACK, a later one in its 200."""

    answer: bytes | None = field(repr=False)  # raw SDP
    asked: bytes = field(default=b"", repr=False)  # our offer, if it was in a re-INVITE


@dataclass(frozen=True, slots=True)
class Informed:
    """The client sent information without an offer; its request is already answered."""

    request: Request
    metadata: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """Sockets are open: the answer to commands.OpenSockets."""

    ports: Mapping[int, int]  # stream number -> our RTP port


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """No sockets could be opened; the offer is refused with 503."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The client withdrew its offer before the answer.

    A first offer was then never a call; a later one changes nothing.
    """


@dataclass(frozen=True, slots=True)
class HungUp:
    """The client sent BYE. Its 200 waits until everything is durable."""

    token: Token
    request: Request
    metadata: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """The dialog ended without a BYE from the client: a timer, no ACK, client gone, or ended by us."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The recorder itself wants the recording to end (shutdown, erasure, storage)."""

    reason: str
    interrupted: bool  # whether audio is missing because of it


@dataclass(frozen=True, slots=True)
class Replaced:
    """The recording replaced another one, which has been told to end."""

    call: str  # id of the other recording


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """An administrator pauses the recording."""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """An administrator resumes the recording."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A DTLS handshake in the media worker produced keys."""

    stream: int
    rtcp: bool  # the keys are for the RTCP port
    suite: str
    theirs: bytes = field(repr=False)
    ours: bytes = field(repr=False)
    fingerprints: tuple[str, ...] = ()  # of the certificate that was requested


@dataclass(frozen=True, slots=True)
class Unkeyed:
    """A DTLS handshake failed: nothing of this stream can be stored."""

    stream: int
    reason: str


@dataclass(frozen=True, slots=True)
class Lingered:
    """Streams that a re-offer removed were received until the client must have had our answer."""

    streams: tuple[int, ...]  # stream numbers


@dataclass(frozen=True, slots=True)
class Severed:
    """A worker died during a DTLS handshake that nobody can continue."""

    certificate: Certificate  # a new certificate of ours, to request another handshake with


@dataclass(frozen=True, slots=True)
class MediaClosed:
    """The media worker sealed the last part."""

    streams: Mapping[int, Mapping[str, Any]]
    clean: bool  # False: the worker could not seal it, or audio was dropped for lack of disk space


@dataclass(frozen=True, slots=True)
class Resumed:
    """The recording continues in a new part after a process died."""

    part: str


@dataclass(frozen=True, slots=True)
class Distrusted:
    """What was recorded so far may be incomplete."""

    # store this mark before a power cut can lose it; "spool-lost": figures of the stream are lost too
    why: str = "sync-failed"


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
