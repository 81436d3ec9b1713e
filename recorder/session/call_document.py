"""Build the call document that the API shows and the vault stores (docs/api.md, "One call"); pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from sip.message.message import Request
from sip.siprec.correlation import CallName, call_group
from sip.siprec.parties import Party
from sip.siprec.stream_owners import Owner
from storage.timestamps import rfc3339 as rfc3339

UNMEASURED: Mapping[str, Any] = {
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

    The fast encoder gives the same bytes but refuses text with lone surrogates, which the slow one stores as bytes.
    """
    try:
        return to_json(value)
    except PydanticSerializationError:
        return _JSON.encode(value).encode("utf-8", "surrogateescape")


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


def party(entry: Party) -> dict[str, Any]:
    """Return one participant as the API shows it."""
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


def speakers(since: Sequence[datetime | None], owners: Sequence[Owner]) -> list[dict[str, Any]]:
    """Return who speaks when. Each entry runs from its time (null: the first packet) to the next entry or the end."""
    times = [rfc3339(at) for at in since]
    return [
        {"from": begin, "to": end, "party": owner.party, "inferred": owner.inferred}
        for begin, end, owner in zip(times, [*times[1:], None][: len(times)], owners, strict=True)
    ]


def pauses(intervals: Iterable[tuple[datetime, datetime | None]]) -> list[list[str | None]]:
    """Return holds and pauses as [from, to] pairs."""
    return [[rfc3339(begin), rfc3339(end)] for begin, end in intervals]


def figures(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the worker's figures of a stream, with times as RFC 3339 and defaults for what is missing."""
    if not measured:  # every new call shares this object
        return {**UNMEASURED, "gaps": [], "first_packet_at": None, "last_packet_at": None}
    shown = {**UNMEASURED, **{k: v for k, v in measured.items() if k not in NOT_SHOWN}}
    shown["first_packet_at"] = from_ns(measured.get("first_arrival") or None)
    shown["last_packet_at"] = from_ns(measured.get("last_arrival") or None)
    shown["gaps"] = [[from_ns(begin), from_ns(end), reason] for begin, end, reason in shown["gaps"]]
    return shown


def belonging(names: Sequence[CallName]) -> dict[str, Any]:
    """Return what links the recording to others of the same call: its group, and every identifier they may share."""
    group = call_group(names)
    return {
        "call_group": {"key": str(group), "sure": group.sure.value} if group else None,
        "related": [{"key": str(name), "sure": name.sure.value} for name in names],
    }


def payload(entry: Any) -> dict[str, Any]:
    """Return one payload type as the call document stores it: what a player needs to decode the recording."""
    return {
        "pt": entry.payload_type,
        "encoding": entry.encoding,
        "clock": entry.clock,
        "channels": entry.channels,
        "fmtp": entry.fmtp,
    }


def codec(formats: Sequence[Any]) -> str | None:
    """Return the name of the first offered format that is a codec rather than events or comfort noise."""
    for entry in formats:
        if entry.encoding and entry.encoding.lower() not in ("telephone-event", "cn", "red", "tone"):
            return str(entry.encoding)
    return str(formats[0].encoding) if formats and formats[0].encoding else None
