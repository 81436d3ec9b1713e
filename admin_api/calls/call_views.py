"""Render a call, its hold, its corrections and attachments as JSON; pure."""

from __future__ import annotations

from typing import Any

from media.codecs.decoders import decodable
from storage.attachments.annotations import Annotation
from storage.attachments.attachments import Attachment
from storage.calls.call_document import CallDocument, PlainDocument, Stream, revealed
from storage.calls.call_row import CallRow
from storage.erasure.holds import Hold
from storage.timestamps import rfc3339


def call(row: CallRow, live: CallDocument | None) -> PlainDocument:
    """Show a call from the index; for a live call, from what the daemon knows now."""
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
    return shown


def _stream(stream: Stream) -> Stream:
    """Show a stream; whether it can be decoded depends on this version, not on the one that stored it."""
    return {**stream, "decodable": decodable(str(stream.get("media")), stream.get("codec"))}


def hold(hold: Hold, *, whole: bool) -> dict[str, Any]:
    """Show a hold; `whole` includes the reason, for those who may hold calls themselves."""
    shown = {"held_since": rfc3339(hold.set_at), "held_by": hold.set_by}
    return {**shown, "hold_reason": hold.reason} if whole else shown


def annotation(note: Annotation) -> dict[str, Any]:
    """Show a correction."""
    made = rfc3339(note.created_at)
    return {"id": note.id, "created_at": made, "created_by": note.created_by, "text": note.text}


def attachment(one: Attachment) -> dict[str, Any]:
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
