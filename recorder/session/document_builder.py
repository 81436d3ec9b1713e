"""Build the call document that the API shows and the vault stores (docs/api.md, "One call"); pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from personal import revealed
from sip.message.message import Request
from sip.sdp.description import Format
from sip.siprec import call_names, parties
from sip.siprec.stream_owners import Owner
from storage.calls.call_document import CallDocument, Party, Payload, Speaker, Stream
from storage.calls.call_document import revealed as in_the_clear
from storage.timestamps import rfc3339

UNMEASURED: Stream = {
    "packets": 0,
    "lost": 0,
    "duplicates": 0,
    "rejected": 0,
    "foreign": 0,
    "late": 0,
    "gap_ms": 0,
    "gaps": [],
    "jitter_ms": 0.0,
    "mos": None,
}
"""Figures of a stream that has received nothing yet."""

NOT_SHOWN = frozenset({"stream", "sources", "codec", "srtp", "first_arrival", "last_arrival"})
"""Figures that only the recorder itself needs, or that the negotiation states better."""


_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def encode(value: Mapping[str, Any]) -> bytes:
    """Encode a document as the body of a control record.

    The fast encoder refuses text with lone surrogates, which the slow one stores as bytes.
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return _JSON.encode(value).encode("utf-8", "surrogateescape")


def encode_call(document: CallDocument) -> bytes:
    """Encode a call document, in the clear, as the body of a control record, which is sealed."""
    try:
        return msgspec.json.encode(document, enc_hook=revealed)
    except UnicodeEncodeError:
        return encode(in_the_clear(document))


def message(request: Request, at: datetime) -> bytes:
    """Return a SIP message's headers as the body of a control record. The record is encrypted; headers hold no keys."""
    headers = [[name, value] for name, value in request.headers.items()]
    return encode({"at": rfc3339(at), "kind": "sip", "method": request.method, "uri": request.uri, "headers": headers})


def happening(kind: str, at: datetime, **more: Any) -> bytes:
    """Encode an event in the life of a recording as the body of a control record. It must hold nothing personal."""
    return encode({"at": rfc3339(at), "kind": kind, **more})


def from_ns(ns: int | None) -> str | None:
    """Return nanoseconds since 1970 as RFC 3339."""
    return None if ns is None else rfc3339(datetime.fromtimestamp(ns / 1e9, UTC))


def party(entry: parties.Party) -> Party:
    """Return one party as the API shows it."""
    return {
        "role": entry.role.value,
        "name": entry.name,
        "number": entry.number,
        "uri": entry.uri,
        "also": list(entry.also),
        "user_id": None,
        "user_candidates": [],
        "joined_at": rfc3339(entry.joined_at),
        "left_at": rfc3339(entry.left_at),
    }


def speakers(since: Sequence[datetime | None], owners: Sequence[Owner]) -> list[Speaker]:
    """Return who is heard when: from the first packet (null) or a time on, up to the next, the last to the end."""
    times = [rfc3339(at) for at in since]
    return [
        {"from": begin, "to": end, "party": owner.party, "inferred": owner.inferred}
        for begin, end, owner in zip(times, [*times[1:], None][: len(times)], owners, strict=True)
    ]


def pauses(intervals: Iterable[tuple[datetime, datetime | None]]) -> list[list[str | None]]:
    """Return holds and pauses as [from, to] pairs."""
    return [[rfc3339(begin), rfc3339(end)] for begin, end in intervals]


def figures(measured: Mapping[str, Any]) -> Stream:
    """Return the worker's figures of a stream with times as RFC 3339, nothing missing."""
    if not measured:  # as of every call that has just begun
        return {**UNMEASURED, "gaps": [], "first_packet_at": None, "last_packet_at": None}
    # what a worker, of this or an older version, wrote under the names of the document, and maybe more
    known = cast("Stream", {name: value for name, value in measured.items() if name not in NOT_SHOWN})
    shown: Stream = {**UNMEASURED, **known}
    shown["first_packet_at"] = from_ns(measured.get("first_arrival") or None)
    shown["last_packet_at"] = from_ns(measured.get("last_arrival") or None)
    shown["gaps"] = [[from_ns(begin), from_ns(end), reason] for begin, end, reason in measured.get("gaps", ())]
    return shown


def belonging(names: Sequence[call_names.CallName]) -> CallDocument:
    """Return what links the recording to others of the same call: its group, and every name others may share."""
    group = call_names.call_group(names)
    return {
        "call_group": {"key": group.key, "sure": group.sure.value} if group else None,
        "related": [{"key": name.key, "sure": name.sure.value} for name in names],
    }


def payload(entry: Format) -> Payload:
    """Return one payload type as the call's document keeps it: what a player needs to decode the recording."""
    return {
        "pt": entry.payload_type,
        "encoding": entry.encoding,
        "clock": entry.clock,
        "channels": entry.channels,
        "fmtp": entry.fmtp,
    }


def codec(formats: Sequence[Format]) -> str | None:
    """Return the name of the first offered format that is a codec, not an event or comfort noise."""
    for entry in formats:
        if entry.encoding and entry.encoding.lower() not in ("telephone-event", "cn", "red", "tone"):
            return entry.encoding
    return (formats[0].encoding or None) if formats else None
