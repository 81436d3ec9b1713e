"""Commands that a recording session issues, as frozen values; calls.executor carries them out in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from sip.sdp.answer import LinePlan
from sip.ua.events import Token
from storage.calls.call_document import CallDocument


class Kept(IntEnum):
    """Types of control records (docs/formats/records.md)."""

    EVENT = 16
    METADATA = 17
    OFFER = 18
    ANSWER = 19
    CALL = 20


@dataclass(frozen=True, slots=True)
class PortKeys:
    """Keys of one port from a DTLS handshake."""

    suite: str
    theirs: bytes = field(repr=False)
    ours: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DtlsKeys:
    """Results of the DTLS handshakes of one stream."""

    rtp: PortKeys | None = None
    rtcp: PortKeys | None = None  # the RTCP port's keys, without rtcp-mux
    stale: bool = False  # the keys belong to an association that a re-offer replaced


class StreamPlan(NamedTuple):
    """What the media plane needs to know about one stream."""

    number: int  # 0…254, unique in the recording; the stream number in the records
    line: LinePlan  # its m= line as negotiated
    own_key: bytes  # our key and salt for the RTCP that we send; empty without SRTP
    held: bool  # the client says that it will send nothing
    keys: DtlsKeys | None = None  # with DTLS-SRTP: what is known of its keys
    moved: bool = False  # a re-offer has just named another source
    expected: datetime | None = None  # since when media are expected; None: unknown
    here: str = ""  # the local address where its media arrive; empty: unknown


@dataclass(frozen=True, slots=True)
class OpenSockets:
    """Open an RTP and an RTCP socket for each stream; answered by events.Opened or events.OpenFailed."""

    streams: tuple[StreamPlan, ...]


@dataclass(frozen=True, slots=True)
class CloseSockets:
    """Close sockets that no worker holds."""

    streams: tuple[int, ...]  # stream numbers


class Keep(NamedTuple):
    """Append a record to the control part. A tuple because a call makes eight of them."""

    kind: Kept
    body: bytes

    def __repr__(self) -> str:
        return f"Keep({self.kind!r}, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class ChangeMedia:
    """Tell the worker what a re-offer changed, or start recording after the client's answer to our first offer."""

    streams: tuple[StreamPlan, ...]  # all streams that continue, including new ones
    removed: tuple[int, ...]  # numbers of the removed streams; answered by events.Lingered


@dataclass(frozen=True, slots=True)
class EndStreams:
    """Have the worker release removed streams, and close their sockets."""

    streams: tuple[int, ...]  # stream numbers


@dataclass(frozen=True, slots=True)
class PauseMedia:
    """Stop storing media from now on."""


@dataclass(frozen=True, slots=True)
class ResumeMedia:
    """Store media again from now on."""


@dataclass(frozen=True, slots=True)
class CloseMedia:
    """Drain the sockets a last time and seal the media part; answered by events.MediaClosed."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Answer an offer with 200. If that fails, events.Unwanted comes back instead of what would follow.

    It fails if the client withdrew the offer, if the files that a first 200 promises cannot be written, or if the
    message to a worker would be too long.
    """

    token: Token
    sdp: bytes
    first: bool = False  # accept only once the files exist and the call document is written, as Index does
    # records of the first answer go to a worker before it, because they must be stored
    streams: tuple[StreamPlan, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer a request with a failure."""

    token: Token
    status: int
    reason: str  # code for metrics and incidents
    warning: tuple[int, str] | None = None  # code and text of a Warning header (RFC 3261 section 20.43)
    retry_after: int | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Report:
    """Add something about the call to its customer's list of incidents."""

    kind: str
    reason: str  # code word, nothing personal


@dataclass(frozen=True, slots=True)
class Reoffer:
    """Send a re-INVITE with an offer of ours; answered by events.Agreed."""

    sdp: bytes
    paused: bool  # ask the client to send nothing from now on


@dataclass(frozen=True, slots=True)
class HangUp:
    """Send BYE."""

    reason: str


@dataclass(frozen=True, slots=True)
class Index:
    """Write the call document to the database when possible."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Write the final document, close the parts, sync everything, answer a waiting BYE, then index the call."""

    document: CallDocument
    sealed: bool  # the worker sealed the newest media part


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget the recording: it never started."""


Command = (
    OpenSockets
    | CloseSockets
    | Keep
    | ChangeMedia
    | EndStreams
    | PauseMedia
    | ResumeMedia
    | CloseMedia
    | Accept
    | Refuse
    | Report
    | Reoffer
    | HangUp
    | Index
    | Finish
    | Discard
)
