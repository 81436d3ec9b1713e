"""The document of a call: the JSON object that the index seals, and that the API, the command line and exports show.

All times are RFC 3339 in UTC. Documents of older versions may lack members, and later versions may add some, so every
member of the sealed part is optional.
"""

from collections.abc import Sequence
from typing import Literal, TypedDict, TypeVar, get_args

Column = Literal["id", "state", "started_at", "ended_at", "duration_ms", "size_bytes"]
"""A member that stands in a column of the index."""

COLUMNS: frozenset[Column] = frozenset(get_args(Column))
"""Members that stand in columns of the index; everything else is sealed."""

State = Literal["recording", "complete", "interrupted"]
"""How far a recording is."""

Role = Literal["caller", "callee", "answered", "redirected_by", "redirected_to", "participant"]
"""What a party was in the call."""

Sure = Literal["stated", "likely"]
"""How certain it is that recordings with the same name belong together."""

Parties = int | list[int] | None
"""Who speaks in a stream: the index of a party, several if they are mixed, None if unknown."""


class Party(TypedDict, total=False):
    """Somebody who took part."""

    role: Role
    """`participant` unless the metadata say more."""
    name: str | None
    """As it was sent."""
    number: str | None
    """User part of the URI, if it is a number."""
    uri: str | None
    """Address of record as it was sent."""
    also: list[str]
    """Other addresses of the same party."""
    user_id: str | None
    """Id of the directory user, if only one fits."""
    user_candidates: list[str]
    """Ids of the directory users, if several fit."""
    joined_at: str | None
    """When the party joined."""
    left_at: str | None
    """When the party left."""


Speaker = TypedDict("Speaker", {"from": str | None, "to": str | None, "party": Parties, "inferred": bool})
"""Who is heard in a stream between two times; None means the first or the last packet."""


class Payload(TypedDict):
    """One payload type of a stream: what a player needs to decode the recording."""

    pt: int
    """Payload type (RFC 3551)."""
    encoding: str | None
    """Name of the codec."""
    clock: int
    """RTP clock rate in Hz."""
    channels: int
    """Number of channels."""
    fmtp: str | None
    """Format parameters as they were sent."""


class Stream(TypedDict, total=False):
    """One media line that was not refused, and how well it was received."""

    label: str | None
    """Label from the SDP, or else from the metadata."""
    party: Parties
    """Who speaks."""
    inferred: bool
    """Whether `party` was inferred, because the client did not state it."""
    earlier: list[int]
    """Parties who spoke before."""
    speakers: list[Speaker]
    """Who is heard when, if that changed."""
    media: str
    """audio, video, text or application."""
    codec: str | None
    """Name of the first codec that was offered."""
    decodable: bool | None
    """Whether this version can decode it; added when the document is shown."""
    srtp: str | None
    """Suite, DTLS-SRTP, or None for plain RTP."""
    removed: bool
    """Whether it was removed from the session."""
    formats: list[Payload]
    """Its payload types."""
    packets: int
    """Packets stored, each counted once."""
    lost: int
    """Packets that never arrived."""
    duplicates: int
    """Packets that arrived more than once."""
    rejected: int
    """Packets that failed authentication or were replayed."""
    foreign: int
    """Packets from another source."""
    late: int
    """Packets that arrived after they had been given up."""
    gap_ms: int
    """Milliseconds of media that are missing."""
    gaps: list[list[str | None]]
    """[from, to, reason]."""
    pauses: list[list[str | None]]
    """[from, to]."""
    jitter_ms: float
    """Interarrival jitter (RFC 3550 section 6.4.1)."""
    mos: float | None
    """Estimated quality, 1 to 4.5 (ITU-T G.107)."""
    first_packet_at: str | None
    """When the first packet arrived."""
    last_packet_at: str | None
    """When the last packet arrived."""


class CallName(TypedDict):
    """A name that recordings of the same call share."""

    key: str
    """The name."""
    sure: Sure
    """How certain it is."""


class CallDetails(TypedDict, total=False):
    """The part that is sealed in the index."""

    session_id: str | None
    """Id of the session as the client sent it."""
    sip_call_id: str | None
    """Call-ID of the recording dialog."""
    client: str | None
    """User-Agent of the client."""
    source: str | None
    """Address that the client sends from."""
    direction: Literal["inbound", "outbound", "internal"] | None
    """Direction of the call."""
    kept_from: str
    """When the retention period begins, if the clock was set back."""
    end_reason: str | None
    """Why the recording ended."""
    paused: bool
    """Whether recording is paused now."""
    parties: list[Party]
    """Everybody who took part at any time, in order of appearance."""
    streams: list[Stream]
    """One for each media line that was not refused, in their order."""
    groups: list[object]
    """Communication session groups (RFC 7865 section 6.2)."""
    correlations: list[list[str]]
    """Ids that relate the recording to others, as they were sent."""
    call_group: CallName | None
    """The name that all recordings of the call share."""
    related: list[CallName]
    """Every name that other recordings of the call may share."""
    notes: list[dict[str, object]]
    """Problems that the recording had."""


class CallDocument(CallDetails, total=False):
    """A whole document."""

    id: str
    """Random id of the call."""
    state: State
    """How far the recording is."""
    started_at: str | None
    """When it began, by the recorder's clock."""
    ended_at: str | None
    """When it ended, by the recorder's clock; None while recording."""
    duration_ms: int
    """Duration by the monotonic clock."""
    size_bytes: int
    """Bytes in the vault."""
    hold: bool
    """Whether it is under legal hold."""
    erase_after: str | None
    """When retention ends; None if never, or not known yet."""


D = TypeVar("D", CallDetails, CallDocument)


def sealed_part(document: CallDocument) -> CallDetails:
    """Return the members of a document that are sealed."""
    sealed = document.copy()
    for name in COLUMNS:
        sealed.pop(name, None)
    return sealed


def with_parties(details: D, parties: Sequence[Party]) -> D:
    """Return a document, or its sealed part, with other parties."""
    changed = details.copy()
    changed["parties"] = list(parties)
    return changed
