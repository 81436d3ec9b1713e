"""An export as the database keeps it: values, and the sealed part of a row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from storage.errors import Forgotten
from storage.keys import sealing
from storage.timestamps import from_micros

_KIND = "export"


class ExportState(StrEnum):
    """How far an export is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for; sealed for as long as it is kept."""

    format: str
    """xlsx, csv, json, or "report"."""
    columns: tuple[str, ...]
    """Names of columns in the order wanted."""
    reason: str = field(repr=False)
    """Why, as it was said."""
    calls: tuple[str, ...] | None = None
    """Ids of calls, or None."""
    party: str | None = field(default=None, repr=False)
    """Whose calls, or None."""
    media: str | None = None
    """Format of the media files, None for none."""
    silence_others: bool = False
    """Leave the streams of everybody but the party out of the media files."""
    case: str | None = None
    """Id of the request of a person that this is the report of, None for an export."""
    other_parties: bool = False
    """Name everybody else too; of reports, as exports name their columns."""
    recipient: str | None = None
    """Whom the file is encrypted to by age."""
    passphrase: str | None = field(default=None, repr=False)
    """What it is encrypted with by age; forgotten once the file is there."""
    query: Mapping[str, Any] | None = field(default=None, repr=False)
    """Whose calls, as a search that storage.calls.stored_query wrote down, or None."""


@dataclass(frozen=True, slots=True)
class Export:
    """One export."""

    id: str
    """Random id."""
    leaf: int = field(repr=False)
    """Leaf that request and file are sealed under."""
    state: ExportState
    """Running, done, failed or cancelled."""
    format: str
    """xlsx, csv, json, or "report"."""
    created_at: datetime
    """When it was asked for."""
    created_by: str
    """By which token."""
    expires_at: datetime
    """When it goes by itself."""
    size_bytes: int | None
    """Length of the file, None before it is done."""
    request: Request | None = field(repr=False)
    """What was asked for, None once it failed or was cancelled."""
    tries: int = 0
    """How often it was begun."""
    problem: str | None = None
    """Why it failed, or what its file lacks: a sentence without personal data."""
    case: str | None = None
    """Id of the request of a person that this is the report of; known also once it failed."""


def seal(
    keys: sealing.Keeper,
    leaf: int,
    id: str,
    request: Request | None,
    tries: int,
    problem: str | None,
    case: str | None = None,
) -> bytes:
    """Seal what is not to be read on the disk; raises Forgotten."""
    asked = None
    if request is not None:
        asked = {name: getattr(request, name) for name in Request.__dataclass_fields__}
        case = request.case
    return sealing.seal(keys, leaf, _KIND, id, {"request": asked, "tries": tries, "problem": problem, "case": case})


def shown(keys: sealing.Keeper, record: Any) -> Export | None:
    """Open a row, None if its leaf was cut; raises SealBroken."""
    try:
        told = sealing.unseal(keys, record.leaf, _KIND, record.id, record.sealed)
    except Forgotten:
        return None
    return Export(
        record.id,
        record.leaf,
        ExportState(record.state),
        record.format,
        from_micros(record.created_at),
        record.created_by,
        from_micros(record.expires_at),
        record.size_bytes,
        _request(told["request"]),
        int(told["tries"]),
        told["problem"],
        told.get("case"),
    )


def _request(told: dict[str, Any] | None) -> Request | None:
    if told is None:
        return None
    calls = told["calls"]
    known = {name: value for name, value in told.items() if name in Request.__dataclass_fields__}
    return Request(**{**known, "columns": tuple(told["columns"]), "calls": None if calls is None else tuple(calls)})
