"""The document of a call: the JSON object that the index seals, and that the API, the command line and exports show.

All times are RFC 3339 in UTC. Documents of older versions may lack members, and later versions may add some, so every
member of the sealed part is optional.

In memory, every value that identifies a person is wrapped: `CallDocument` has `Personal[str]` where `PlainDocument`
has `str`. `revealed` unwraps a document before it is sealed or returned to a client; `wrapped` wraps an opened
document again. Nothing else converts between the two.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Literal, TypedDict, TypeVar, get_args, overload

from msgspec import Meta

from personal import Personal

Text = TypeVar("Text")
"""Type of a value that identifies a person: Personal[str] in memory, str in sealed documents and responses."""

Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Count = Annotated[int, Meta(ge=0)]
Spans = Annotated[list[list[str | None]], Meta(extra_json_schema={"items": {"type": "array"}})]
"""Periods as [from, to], or [from, to, reason]."""

Column = Literal["id", "state", "started_at", "ended_at", "duration_ms", "size_bytes"]
"""A member that is stored in a column of the index."""

COLUMNS: frozenset[Column] = frozenset(get_args(Column))
"""Members that are stored in columns of the index; all other members are sealed."""

State = Literal["recording", "complete", "interrupted"]
"""State of a recording."""

Role = Literal["caller", "callee", "answered", "redirected_by", "redirected_to", "participant"]
"""Role of a party in the call."""

Sure = Literal["stated", "likely"]
"""How certain it is that recordings with the same name belong together."""

Parties = Annotated[
    int | list[int] | None, Meta(extra_json_schema={"type": ["integer", "array", "null"], "items": {"type": "integer"}})
]
"""Who speaks in a stream: the index of a party, several if they are mixed, None if unknown."""


class PartyOf(TypedDict, Generic[Text], total=False):
    """A participant in the call."""

    role: Role
    """`participant` unless the metadata give a more specific role."""
    name: Text | None
    """Name as it was sent."""
    number: Text | None
    """User part of the URI, if that is a number."""
    uri: Text | None
    """Address of record as it was sent."""
    also: list[Text]
    """Other addresses of the same party."""
    user_id: str | None
    """Id of the directory user, if exactly one matches."""
    user_candidates: list[str]
    """Ids of the directory users, if several match."""
    joined_at: Time | None
    """When the party joined."""
    left_at: Time | None
    """When the party left."""


Speaker = TypedDict(
    "Speaker", {"from": Time | None, "to": Time | None, "party": Parties, "inferred": bool}, total=False
)
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
    """A media line that was not refused, with its reception statistics."""

    label: str | None
    """Label from the SDP, or else from the metadata."""
    party: Parties
    """Who speaks."""
    inferred: bool
    """Whether `party` was inferred, because the client did not state it."""
    earlier: list[int]
    """Parties who spoke before."""
    speakers: Annotated[
        list[Speaker],
        Meta(description="Who is heard from which time (null: the first packet); empty if `party` holds throughout."),
    ]
    media: str
    """audio, video, text or application."""
    codec: str | None
    """Name of the first codec that was offered."""
    decodable: Annotated[bool | None, Meta(description="False: exports have silence or no picture for it.")]
    """Added when the document is shown, because it depends on the version that shows it."""
    srtp: str | None
    """Suite, DTLS-SRTP, or None for plain RTP."""
    removed: bool
    """Whether it was removed from the session."""
    formats: list[Payload]
    """Its payload types."""
    packets: Count
    """Packets stored, each counted once."""
    lost: Count
    """Packets that never arrived."""
    duplicates: Count
    """Packets that arrived more than once."""
    rejected: Count
    """Packets that failed authentication or were replayed."""
    foreign: Count
    """Packets from another source."""
    late: Count
    """Packets that arrived after they had been counted as lost."""
    gap_ms: Count
    """Milliseconds of media that are missing."""
    gaps: Spans
    """[from, to, reason]."""
    pauses: Spans
    """[from, to]."""
    jitter_ms: float
    """Interarrival jitter (RFC 3550 section 6.4.1)."""
    mos: float | None
    """Estimated quality, 1 to 4.5 (ITU-T G.107)."""
    first_packet_at: Time | None
    """When the first packet arrived."""
    last_packet_at: Time | None
    """When the last packet arrived."""


class CallNameOf(TypedDict, Generic[Text]):
    """A name that recordings of the same call share."""

    key: Text
    """The name."""
    sure: Sure
    """How certain it is."""


class CallDetailsOf(TypedDict, Generic[Text], total=False):
    """The part that is sealed in the index."""

    session_id: Text | None
    """Id of the session as the client sent it."""
    sip_call_id: Text | None
    """Call-ID of the recording dialog."""
    client: str | None
    """User-Agent of the client."""
    source: str | None
    """Address that the client sends from."""
    direction: Literal["inbound", "outbound", "internal"] | None
    """Direction of the call."""
    kept_from: Time
    """When the retention period begins, if the clock was set back."""
    end_reason: str | None
    """Why the recording ended."""
    paused: bool
    """Whether recording is paused now."""
    parties: list[PartyOf[Text]]
    """Everybody who took part at any time, in the order in which they appeared."""
    streams: list[Stream]
    """One entry for each media line that was not refused, in the order of the media lines."""
    groups: list[Text]
    """Communication session groups (RFC 7865 section 6.2)."""
    correlations: list[list[str | Text]]
    """Ids that relate the recording to others, as they were sent, each prefixed with its kind."""
    call_group: CallNameOf[Text] | None
    """The name that all recordings of the call share."""
    related: list[CallNameOf[Text]]
    """Every name that other recordings of the call may share."""
    notes: list[dict[str, object]]
    """Problems that the recording had."""


class CallDocumentOf(CallDetailsOf[Text], Generic[Text], total=False):
    """A whole document."""

    id: Id
    """Random id of the call."""
    state: State
    """State of the recording."""
    started_at: Time | None
    """When it began, by the recorder's clock."""
    ended_at: Time | None
    """When it ended, by the recorder's clock; None while recording."""
    duration_ms: Count
    """Duration by the monotonic clock."""
    size_bytes: Count
    """Bytes in the vault."""
    hold: bool
    """Whether it is under legal hold."""
    erase_after: Time | None
    """When retention ends; None if never, or not known yet."""


Party = PartyOf[Personal[str]]
CallName = CallNameOf[Personal[str]]
CallDetails = CallDetailsOf[Personal[str]]
CallDocument = CallDocumentOf[Personal[str]]

PlainParty = PartyOf[str]
PlainDetails = CallDetailsOf[str]
PlainDocument = CallDocumentOf[str]

D = TypeVar("D", CallDetails, CallDocument)

_NAMES = ("session_id", "sip_call_id")
"""Members that the client chooses: they may hold a number or a name."""
_PARTY = ("name", "number", "uri", "email", "upn")
"""Members of a party that identify somebody; only older versions wrote the last two."""


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


@overload
def revealed(document: CallDocument) -> PlainDocument: ...
@overload
def revealed(document: CallDetails) -> PlainDetails: ...
def revealed(document: Any) -> Any:
    """Unwrap a document, or its sealed part, to seal it or to return it to a client that may see it."""
    return _changed(document, _reveal)


@overload
def wrapped(document: PlainDocument) -> CallDocument: ...
@overload
def wrapped(document: PlainDetails) -> CallDetails: ...
def wrapped(document: Any) -> Any:
    """Wrap the values that identify people in an opened document, or in its sealed part."""
    return _changed(document, _wrap)


def revealed_parties(details: CallDetails) -> list[PlainParty]:
    """Return the unwrapped parties of a call, for a client that may see them."""
    return [_changed_party(party, _reveal) for party in details.get("parties") or ()]


def _reveal(value: Any) -> Any:
    return value.reveal() if isinstance(value, Personal) else value


def _wrap(value: Any) -> Any:
    return Personal(value) if isinstance(value, str) else value


def _changed(document: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a copy with `change` applied to each value that identifies people; leave damaged members unchanged."""
    found = document.copy()
    for name in _NAMES:
        if name in found:
            found[name] = change(found[name])
    if parties := found.get("parties"):
        found["parties"] = [_changed_party(party, change) for party in parties]
    if groups := found.get("groups"):
        found["groups"] = [change(value) for value in groups]
    if pairs := found.get("correlations"):
        found["correlations"] = [[kind, change(value)] for kind, value in pairs]
    if group := found.get("call_group"):
        found["call_group"] = {**group, "key": change(group["key"])}
    if related := found.get("related"):
        found["related"] = [{**name, "key": change(name["key"])} for name in related]
    return found


def _changed_party(party: Any, change: Callable[[Any], Any]) -> Any:
    found = party.copy()
    for name in _PARTY:
        if name in found:
            found[name] = change(found[name])
    if also := found.get("also"):
        found["also"] = [change(value) for value in also]
    return found
