"""The document of a call: the JSON object that the index keeps sealed, and that API, command line and exports show.

Every time is RFC 3339 in UTC. A document of an older version may lack members, and later versions may add some, so no
member of the sealed part is certain to be there.
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
"""How much a shared name proves."""

Parties = int | list[int] | None
"""Whose a stream is: the index of a party, those of several where it is mixed, None if unknown."""


class Party(TypedDict, total=False):
    """Somebody who took part."""

    role: Role
    """`participant` unless the message says more."""
    name: str | None
    """As it was sent."""
    number: str | None
    """User part of the URI, if it is a number."""
    uri: str | None
    """Address of record as it was sent."""
    also: list[str]
    """Other addresses of the same party."""
    user_id: str | None
    """The directory user, if only one can be meant."""
    user_candidates: list[str]
    """The directory users of whom one is meant, if there are several."""
    joined_at: str | None
    """When the party joined."""
    left_at: str | None
    """When the party left."""


Speaker = TypedDict("Speaker", {"from": str | None, "to": str | None, "party": Parties, "inferred": bool})
"""Who is heard in a stream from one time to another; None is the first or the last packet."""


class Payload(TypedDict):
    """One payload type of a stream: what a player needs to decode the recording."""

    pt: int
    """Payload type (RFC 3551)."""
    encoding: str | None
    """Name of the codec."""
    clock: int
    """Ticks of the RTP clock a second."""
    channels: int
    """Number of channels."""
    fmtp: str | None
    """Format parameters as they were sent."""


class Stream(TypedDict, total=False):
    """One media line that was not refused, and how well it was received."""

    label: str | None
    """Of the SDP, else of the metadata."""
    party: Parties
    """Whose it is."""
    inferred: bool
    """Nobody stated whose it is."""
    earlier: list[int]
    """Whose it was before."""
    speakers: list[Speaker]
    """Who is heard when, where that changed."""
    media: str
    """audio, video, text or application."""
    codec: str | None
    """Name of the first codec that was offered."""
    decodable: bool | None
    """Whether this version can decode it; added when the document is shown."""
    srtp: str | None
    """Suite, DTLS-SRTP, or None for plain RTP."""
    removed: bool
    """It was taken out of the session."""
    formats: list[Payload]
    """Its payload types."""
    packets: int
    """Packets stored, each counted once."""
    lost: int
    """Packets that never came."""
    duplicates: int
    """Packets that came again."""
    rejected: int
    """Packets that failed authentication or were replayed."""
    foreign: int
    """Packets of another source."""
    late: int
    """Packets that came after their place was given up."""
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
    """When the first packet came."""
    last_packet_at: str | None
    """When the last packet came."""


class CallName(TypedDict):
    """A name that other recordings of the same call share."""

    key: str
    """The name."""
    sure: Sure
    """How much it proves."""


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
    """Which way the call went."""
    kept_from: str
    """From when on retention counts, where the clock was set back."""
    end_reason: str | None
    """Why the recording ended."""
    paused: bool
    """What is said is not kept now."""
    parties: list[Party]
    """Everybody who ever took part, in the order of appearance."""
    streams: list[Stream]
    """One for every media line that was not refused, in their order."""
    groups: list[object]
    """Communication session groups (RFC 7865 section 6.2)."""
    correlations: list[list[str]]
    """Ids that relate the recording to others, as they were sent."""
    call_group: CallName | None
    """The name that all recordings of the call share."""
    related: list[CallName]
    """Every name that other recordings of the call may share."""
    notes: list[dict[str, object]]
    """What befell the recording."""


class CallDocument(CallDetails, total=False):
    """A whole document."""

    id: str
    """Random id of the call."""
    state: State
    """How far the recording is."""
    started_at: str | None
    """Begin by the recorder's clock."""
    ended_at: str | None
    """End by the recorder's clock, None while recording."""
    duration_ms: int
    """Length by the monotonic clock."""
    size_bytes: int
    """Bytes in the vault."""
    hold: bool
    """It is under legal hold."""
    erase_after: str | None
    """When retention ends, None if never or not known yet."""


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
