"""Rendering of a call, its hold, its corrections and attachments as JSON; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal, NotRequired, TypedDict, cast, get_args

from msgspec import Meta

from admin_api.http.types import Count, Id, Time, word
from media.codecs.decoders import decodable
from storage.attachments.annotations import Annotation as StoredAnnotation
from storage.attachments.attachments import KINDS, MEDIA_TYPES
from storage.attachments.attachments import Attachment as StoredAttachment
from storage.calls.call_document import COLUMNS, CallDocument, PlainDocument, Stream, Sure, revealed
from storage.calls.call_row import CallRow
from storage.erasure.holds import Hold as StoredHold
from storage.nodes.present import Present, recorded_by
from storage.nodes.rows import NodeState
from storage.timestamps import rfc3339


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
NODE_STATE = Meta(
    description="State of that node. A live call of a node that is away may still be recorded there, or have ended.",
    extra_json_schema={"type": ["string", "null"], "enum": [*NodeState, None]},
)


class Call(PlainDocument, total=False):
    """Everything known about a call: its document, and what else belongs to it."""

    held_since: Time
    held_by: str
    hold_reason: str
    annotations: list[Annotation]
    attachments: list[Attachment]
    recordings: list[Recording]
    node: Annotated[str | None, Meta(description=NODE)]
    node_state: Annotated[str | None, NODE_STATE]


ALWAYS: Mapping[type, Collection[str]] = {Call: {*COLUMNS, "hold", "erase_after"}}
"""Members that an answer always has, of types whose members are all optional."""
UNDESCRIBED: Mapping[type, Collection[str]] = {
    Call: {
        "sip_call_id", "client", "end_reason", "paused", "groups", "correlations", "call_group", "related", "notes",
    },
    Stream: {"removed", "formats", "foreign", "late", "first_packet_at", "last_packet_at"},
}  # fmt: skip
"""Members of answers that the OpenAPI document does not promise."""


INCOMPLETE = (
    "Only while the index is being rebuilt (the database was lost, or an older one was restored) or rejects a call: "
    "calls may be missing, and actions that select calls by a party answer 503. Absent: the list is complete."
)


class CallPage(TypedDict):
    """One page of a search."""

    items: list[Call]
    next_cursor: str | None
    incomplete: NotRequired[Annotated[Literal[True], Meta(description=INCOMPLETE)]]


def call(row: CallRow, live: CallDocument | None, nodes: Mapping[int, Present] | None = None) -> Call:
    """Return a call in the form of the API, from the index or, if it is live, from the daemon's current data.

    `nodes`: the names of the nodes that share the database, by number, if there are several.
    """
    shown = cast("Call", revealed(row.document(live)))
    if "streams" in shown:
        shown["streams"] = [_stream(stream) for stream in shown["streams"]]
    return shown if nodes is None else {**shown, **recorded_by(row.node, nodes)}


def _stream(stream: Stream) -> Stream:
    """Return a stream; whether it can be decoded depends on this version, not on the one that stored it."""
    return {**stream, "decodable": decodable(str(stream.get("media")), stream.get("codec"))}


def hold(hold: StoredHold, *, whole: bool) -> Held:
    """Return a hold; `whole` includes the reason, for those who may hold calls themselves."""
    shown: Held = {"held_since": rfc3339(hold.set_at), "held_by": hold.set_by}
    return {**shown, "hold_reason": hold.reason} if whole else shown


def annotation(note: StoredAnnotation) -> Annotation:
    """Return a correction."""
    made = rfc3339(note.created_at)
    return {"id": note.id, "created_at": made, "created_by": note.created_by, "text": note.text}


def attachment(one: StoredAttachment) -> Attachment:
    """Return an attachment without its bytes."""
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
