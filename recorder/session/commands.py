"""Everything the core of a recording can ask for, as frozen values; calls.executor carries them out in order."""

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
    """What the handshakes of one stream gave."""

    rtp: PortKeys | None = None
    rtcp: PortKeys | None = None  # of the RTCP port without rtcp-mux
    stale: bool = False  # they are those of an association that a re-offer replaced


class StreamPlan(NamedTuple):
    """What the media plane has to know of one stream."""

    number: int  # 0…254, unique in the recording, the stream number of the records
    line: LinePlan  # its m= line as negotiated
    own_key: bytes  # our key and salt, protects what we send (RTCP); empty without SRTP
    held: bool  # the client says that nothing will come
    keys: DtlsKeys | None = None  # with DTLS-SRTP: what is known of its keys
    moved: bool = False  # a re-offer has just named another source
    expected: datetime | None = None  # since when media are expected; None: not known
    here: str = ""  # address of this machine at which its media arrive; empty: not known


@dataclass(frozen=True, slots=True)
class OpenSockets:
    """Open an RTP and an RTCP socket for each stream; answered by events.Opened or events.OpenFailed."""

    streams: tuple[StreamPlan, ...]


@dataclass(frozen=True, slots=True)
class CloseSockets:
    """Give sockets back that no worker has."""

    streams: tuple[int, ...]  # stream numbers


class Keep(NamedTuple):
    """Append a record to the control part; a tuple, since a call has eight."""

    kind: Kept
    body: bytes


@dataclass(frozen=True, slots=True)
class ChangeMedia:
    """Tell the worker what a re-offer changed, or begin: where the first offer was ours that waits for the client's."""

    streams: tuple[StreamPlan, ...]  # all that go on, new ones included
    removed: tuple[int, ...]  # numbers of those taken out; answered by events.Lingered


@dataclass(frozen=True, slots=True)
class EndStreams:
    """Have the worker let go of streams that were taken out, and give their sockets back."""

    streams: tuple[int, ...]  # stream numbers


@dataclass(frozen=True, slots=True)
class PauseMedia:
    """Keep nothing from now on."""


@dataclass(frozen=True, slots=True)
class ResumeMedia:
    """Keep again from now on."""


@dataclass(frozen=True, slots=True)
class CloseMedia:
    """Drain for the last time and seal the media part; answered by events.MediaClosed."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Answer an offer with 200; answered by events.Unwanted, instead of what follows, if it could not be answered so.

    That is where the client withdrew it, where what a first 200 promises could not be written, and where no worker can
    be told of it.
    """

    token: Token
    sdp: bytes
    first: bool = False  # accepted only once the files exist and the call's document is written, as Index does
    streams: tuple[StreamPlan, ...] = ()  # those of a first answer go to a worker before it, since they must be kept


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
    """List something about the call among the incidents of its customer."""

    kind: str
    reason: str  # code word, nothing personal


@dataclass(frozen=True, slots=True)
class Reoffer:
    """Send a re-INVITE with an offer of ours; answered by events.Agreed."""

    sdp: bytes
    paused: bool  # nothing is to be sent to us from now on


@dataclass(frozen=True, slots=True)
class HangUp:
    """Send BYE."""

    reason: str


@dataclass(frozen=True, slots=True)
class Index:
    """Write the call's document to the database when it can be done."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Write the final document, close the parts, make all durable, then answer the BYE if one waits, then index."""

    document: CallDocument
    sealed: bool  # the worker sealed the newest media part


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget the recording: it never began."""


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
