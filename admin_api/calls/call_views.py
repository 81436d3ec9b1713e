"""Render a call, its hold, its corrections and attachments as JSON; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypedDict, cast, get_args

from msgspec import Meta

from admin_api.http.types import Count, Id, Time, word
from media.codecs.decoders import decodable
from storage.attachments.annotations import Annotation as StoredAnnotation
from storage.attachments.attachments import KINDS, MEDIA_TYPES
from storage.attachments.attachments import Attachment as StoredAttachment
from storage.calls.call_document import CallDocument, Parties, PlainDocument, Role, Sure, revealed
from storage.calls.call_document import Stream as StoredStream
from storage.calls.call_row import CallRow, CallState, Direction
from storage.erasure.holds import Hold as StoredHold
from storage.timestamps import rfc3339

if TYPE_CHECKING:
    from storage.nodes.present import Present

_Owner = Annotated[
    Parties, Meta(extra_json_schema={"type": ["integer", "array", "null"], "items": {"type": "integer"}})
]


class Party(TypedDict, total=False):
    """Somebody who took part."""

    role: Annotated[str, word(get_args(Role))]
    name: str | None
    number: str | None
    uri: str | None
    also: list[str]
    user_id: str | None
    user_candidates: list[str]
    joined_at: Time | None
    left_at: Time | None


Speaker = TypedDict("Speaker", {"from": Time | None, "to": Time | None, "party": _Owner, "inferred": bool}, total=False)
"""Who is heard in a stream between two times; null means the first or the last packet."""


class Stream(TypedDict, total=False):
    """One media line that was not refused."""

    label: str | None
    party: _Owner
    inferred: bool
    earlier: list[int]
    speakers: Annotated[
        list[Speaker],
        Meta(description="Who is heard from which time (null: the first packet); empty if `party` holds throughout."),
    ]
    media: str
    codec: str | None
    decodable: Annotated[bool | None, Meta(description="False: exports have silence or no picture for it.")]
    srtp: str | None
    packets: Count
    lost: Count
    duplicates: Count
    rejected: Count
    gap_ms: Count
    gaps: list[list[Any]]
    pauses: list[list[Any]]
    jitter_ms: float
    mos: float | None


class Annotation(TypedDict):
    """A correction of a call."""

    id: Id
    created_at: Time
    created_by: str
    text: str


class Attachment(TypedDict):
    """A transcript or chat of a call, without its bytes."""

    id: Id
    kind: Annotated[str, word(KINDS)]
    media_type: Annotated[str, word(MEDIA_TYPES)]
    title: str
    language: str | None
    size_bytes: Count
    sha256: str
    created_at: Time
    created_by: str


class Recording(TypedDict):
    """Another recording of the same call."""

    id: str
    key: str
    sure: Annotated[str, word(get_args(Sure))]


class Held(TypedDict, total=False):
    """Who holds a call, and why."""

    held_since: Time
    held_by: str
    hold_reason: str


class Hold(TypedDict):
    """A call under legal hold."""

    id: Id
    hold: Literal[True]
    held_since: Time
    held_by: str
    hold_reason: str


NODE = (
    "Only where several nodes share a database: the name of the node that recorded the call, or is recording it; null "
    "for one that is no longer known."
)
NODE_STATES = ("pending", "active", "draining", "away", "retired")
NODE_STATE = Meta(
    description="State of that node. A live call of a node that is away may still be recorded there, or have ended.",
    extra_json_schema={"type": ["string", "null"], "enum": [*NODE_STATES, None]},
)


class Call(TypedDict):
    """Everything known about a call."""

    id: Id
    state: Annotated[str, word(CallState)]
    started_at: Time | None
    ended_at: Time | None
    duration_ms: Count
    kept_from: NotRequired[Time]
    source: NotRequired[str | None]
    direction: NotRequired[Annotated[str, word(Direction)] | None]
    session_id: NotRequired[str | None]
    parties: NotRequired[list[Party]]
    streams: NotRequired[list[Stream]]
    size_bytes: Count
    hold: bool
    erase_after: Time | None
    held_since: NotRequired[Time]
    held_by: NotRequired[str]
    hold_reason: NotRequired[str]
    annotations: NotRequired[list[Annotation]]
    attachments: NotRequired[list[Attachment]]
    recordings: NotRequired[list[Recording]]
    node: NotRequired[Annotated[str | None, Meta(description=NODE)]]
    node_state: NotRequired[Annotated[str | None, NODE_STATE]]


INCOMPLETE = (
    "Only while the index is being rebuilt (the database was lost, or an older one was restored) or rejects a call: "
    "calls may be missing, and actions that select calls by a party answer 503. Absent: the list is complete."
)


class CallPage(TypedDict):
    """One page of a search."""

    items: list[Call]
    next_cursor: str | None
    incomplete: NotRequired[Annotated[Literal[True], Meta(description=INCOMPLETE)]]


def call(row: CallRow, live: CallDocument | None, nodes: Mapping[int, Present] | None = None) -> PlainDocument:
    """Show a call from the index; for a live call, from what the daemon knows now.

    `nodes`: those that share the database, by number, where there are several.
    """
    known: CallDocument = {
        **row.details,
        **row.columns_shown(),
        **(live or CallDocument()),
        "hold": row.hold,
        "erase_after": rfc3339(row.erase_after),
    }
    shown = revealed(known)
    if "streams" in shown:
        shown["streams"] = [_stream(stream) for stream in shown["streams"]]
    return shown if nodes is None else cast("PlainDocument", {**shown, **recorder_of(row, nodes)})


def recorder_of(row: CallRow, nodes: Mapping[int, Present]) -> dict[str, str | None]:
    """Show which of several nodes recorded a call."""
    node = nodes.get(row.node)
    return {"node": node.name if node else None, "node_state": node.state.value if node else None}


def answer(shown: CallDocument) -> Call:
    """Return a call as the API's answer."""
    return cast("Call", shown)


def _stream(stream: StoredStream) -> StoredStream:
    """Show a stream; whether it can be decoded depends on this version, not on the one that stored it."""
    return {**stream, "decodable": decodable(str(stream.get("media")), stream.get("codec"))}


def hold(hold: StoredHold, *, whole: bool) -> Held:
    """Show a hold; `whole` includes the reason, for those who may hold calls themselves."""
    shown: Held = {"held_since": rfc3339(hold.set_at), "held_by": hold.set_by}
    return {**shown, "hold_reason": hold.reason} if whole else shown


def annotation(note: StoredAnnotation) -> Annotation:
    """Show a correction."""
    made = rfc3339(note.created_at)
    return {"id": note.id, "created_at": made, "created_by": note.created_by, "text": note.text}


def attachment(one: StoredAttachment) -> Attachment:
    """Show an attachment without its bytes."""
    return {
        "id": one.id,
        "kind": one.kind,
        "media_type": one.media_type,
        "title": one.title,
        "language": one.language or None,
        "size_bytes": one.size_bytes,
        "sha256": one.sha256,
        "created_at": rfc3339(one.created_at),
        "created_by": one.created_by,
    }
