"""A row of the index: its values, its sealed part, and its position in lists."""

import enum
import ipaddress
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import msgspec

from personal import Personal, revealed
from storage import cursors
from storage.calls.call_document import CallDetails, CallDocument, PlainDetails, wrapped
from storage.calls.call_document import revealed as in_the_clear
from storage.errors import StorageError
from storage.json_bytes import utf8_json
from storage.search_forms import Needle
from storage.timestamps import from_micros, rfc3339, to_micros

DAY_SHIFT = 32  # a leaf is day << 32 | number
DEFAULT_LIMIT = 50
MAX_LIMIT = 1000  # rows of one page: opening more sealed parts would block the event loop for over 100 ms
MAX_SEALED = 16 << 20  # bytes of one row's details; a conference of 80 with every event has 0.2 MB
_FORMAT = b"\x01"  # first byte of the sealed plaintext: JSON, deflated
_WINDOW_BITS = 12  # 4 KiB; a row's details have two
_MEMORY_LEVEL = 5  # zlib's memLevel: 32 KiB beside the window


class BadDetails(StorageError):
    """The sealed part of a row has a format that this version does not know, or is too large."""


class CallState(enum.StrEnum):
    """State of a recording."""

    RECORDING = "recording"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"


class Direction(enum.StrEnum):
    """Direction of a call, as the customer sees it."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    INTERNAL = "internal"


STATE_CODES = {CallState.RECORDING: 0, CallState.COMPLETE: 1, CallState.INTERRUPTED: 2}
_STATES = {code: state for state, code in STATE_CODES.items()}


@dataclass(frozen=True, slots=True)
class CallRow:
    """One recording, as the index stores it."""

    id: str
    """Random id of the call."""
    leaf: int
    """Leaf of the key tree that all personal data of the call are sealed under."""
    state: CallState
    """Recording, complete or interrupted."""
    started_at: datetime
    """When it began, by the recorder's clock."""
    ended_at: datetime | None
    """When it ended, by the recorder's clock; None while recording."""
    duration_ms: int
    """Duration by the monotonic clock."""
    size_bytes: int
    """Bytes in the vault."""
    hold: bool = False
    """Whether it is under legal hold; `Calls.put` sets this for a new call and does not change it for a known one."""
    erase_after: datetime | None = None
    """When retention ends; None if never, or not known yet."""
    details: CallDetails = field(default_factory=CallDetails, repr=False)
    """All other members, as JSON values, sealed in the database: session_id, parties, streams."""
    matched: bool = False
    """Whether its parties were matched with the users of the directory (storage.directory.matcher)."""
    kept_from: datetime | None = None
    """When it really ended, if the clock was set back before; None if `ended_at` is right."""
    node: int = 0
    """Number of the node that recorded it; when a row is written, the number of the writing node is stored instead."""

    def document(self, live: CallDocument | None = None) -> CallDocument:
        """Return the document: the sealed part and the columns.

        `live`: the daemon's present document of a live call. Only the index knows the hold and the end of retention.
        """
        return {
            **self.details,
            "id": self.id,
            "state": self.state.value,
            "started_at": rfc3339(self.started_at),
            "ended_at": rfc3339(self.ended_at),
            "duration_ms": self.duration_ms,
            "size_bytes": self.size_bytes,
            **(live or CallDocument()),
            "hold": self.hold,
            "erase_after": rfc3339(self.erase_after),
        }

    @property
    def day(self) -> int:
        """Day of the leaf, in days since 1970-01-01 UTC."""
        return self.leaf >> DAY_SHIFT


@dataclass(frozen=True, slots=True)
class Amended:
    """A change to a call that was already written."""

    id: str
    """Id of the call."""
    leaf: int
    """Its leaf."""
    version: int
    """Version of the row that was read; a newer version is not changed."""
    sealed: bytes | None = None
    """New details and search forms (storage.calls.call_index.Calls.seal), None if they do not change."""
    erase_after: int | None = None
    """When retention ends, in microseconds since 1970-01-01 UTC; only used with `sealed`."""
    gained: frozenset[str] = field(default=frozenset(), repr=False)
    """Search forms to add."""
    lost: frozenset[str] = field(default=frozenset(), repr=False)
    """Search forms to remove."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to search for; a member that is not given matches every call."""

    party: Personal[str] | None = None
    """A number, URI, name, e-mail or user id in any spelling."""
    since: datetime | None = None
    """Only calls that began at this time or later."""
    until: datetime | None = None
    """Only calls that began before this time."""
    state: CallState | None = None
    """Only calls in this state."""
    limit: int = DEFAULT_LIMIT
    """Items of a page, at most MAX_LIMIT."""
    cursor: str | None = None
    """`next_cursor` of the page before."""
    related: tuple[Personal[str], ...] = ()
    """Names of a call, at least one of which must match; cannot be combined with a party."""
    user: str | None = None
    """Id of a user who is a party or a candidate for one; cannot be combined with a party."""
    exact: bool = False
    """Do not match a number by its last digits: an erasure must not reach a second person."""
    hold: bool | None = None
    """Only calls under legal hold, or only those that are not."""
    direction: Direction | None = None
    """Only calls of this direction."""
    source: str | None = field(default=None, repr=False)
    """Only calls from this address, in any spelling."""
    each_once: bool = False
    """List only one of the recordings that several nodes made of one session (storage.calls.session_recordings)."""

    def meets(self, details: Mapping[str, Any]) -> bool:
        """Check direction and source against the sealed details; the columns only narrow the search."""
        if self.direction is not None and details.get("direction") != self.direction.value:
            return False
        return self.source is None or canonical_source(details.get("source")) == canonical_source(self.source)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A call that is not in the index yet, or is there in an older state."""

    id: str
    """Id of the call."""
    leaf: int
    """Its leaf."""
    started_at: datetime
    """When it began, by the recorder's clock."""
    live: bool
    """Whether it is being recorded."""
    made: Callable[[], tuple[CallRow, tuple[str, ...]] | None] = field(repr=False)
    """Builds the row and search forms that the index will get; None if the call was erased.

    Called only if the call may match: building a row costs as much as all other work for a short call.
    """

    @property
    def position(self) -> "Position":
        """Return its position."""
        return Position(self.leaf >> DAY_SHIFT, to_micros(self.started_at), self.id)

    def may_meet(self, query: Query, after: "Position | None") -> bool:
        """Return whether the call may match a query, judged without its row."""
        if after is not None and self.position >= after:
            return False
        if query.state is not None and (query.state is CallState.RECORDING) is not self.live:
            return False
        early = query.since is not None and self.started_at < query.since
        return not early and (query.until is None or self.started_at < query.until)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of calls, newest first."""

    items: tuple[CallRow, ...]
    """Calls of this page."""
    next_cursor: str | None
    """Where the next page begins, None after the last."""
    unreadable: int = 0
    """Rows left out because their sealed part is damaged; `recorder verify` reports them."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Position of a call in lists: by day, then start, then id."""

    day: int
    """Day of the leaf."""
    started: int
    """Start in microseconds since 1970-01-01 UTC."""
    id: str
    """Id of the call."""

    @classmethod
    def of(cls, row: CallRow) -> "Position":
        """Return the position of a call."""
        return cls(row.day, to_micros(row.started_at), row.id)

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """Parse a cursor; raises BadCursor."""
        return cls(*cursors.read_by_day(cursor))

    def __str__(self) -> str:
        return cursors.by_day(self.day, self.started, self.id)


def canonical_source(source: object) -> str:
    """Return an address in the form used to compare addresses; names are folded to lower case."""
    text = str(source or "").strip()
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return text.casefold()
    return str(getattr(address, "ipv4_mapped", None) or address)  # `::ffff:192.0.2.7` on an IPv6 socket is 192.0.2.7


def pack(details: CallDetails, forms: Sequence[str]) -> bytes:
    """Serialise details and search forms for sealing; raises BadDetails if they are too large."""
    data = _json(details, list(forms))
    if len(data) > MAX_SEALED:
        raise BadDetails("the details of a call are too large")
    # With its usual quarter of a megabyte, zlib spends ten times as long clearing memory as compressing 2 kB.
    packer = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
    return _FORMAT + packer.compress(data) + packer.flush()


def _json(details: CallDetails, forms: list[str]) -> bytes:
    """Encode unwrapped details and search forms; the fast encoder refuses text with lone surrogates."""
    try:
        return msgspec.json.encode({"details": details, "forms": forms}, enc_hook=revealed)
    except UnicodeEncodeError:
        return utf8_json({"details": in_the_clear(details), "forms": forms})


def unpack(plain: bytes) -> tuple[CallDetails, tuple[str, ...]]:
    """Parse what `pack` returned; raises BadDetails."""
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(plain[1:], MAX_SEALED)
        document = json.loads(data.decode("utf-8", "surrogatepass"))
        details, forms = document["details"], tuple(document["forms"])
        if plain[:1] == _FORMAT and isinstance(details, dict):
            return wrapped(cast("PlainDetails", details)), forms
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadDetails("the details of a call cannot be read") from None
    raise BadDetails("the details of a call have an unknown format")


def columns(row: CallRow) -> dict[str, Any]:
    """Return the columns that are stored in the clear."""
    return {
        "id": row.id,
        "leaf": row.leaf,
        "day": row.day,
        "state": STATE_CODES[CallState(row.state)],
        "started_at": to_micros(row.started_at),
        "ended_at": None if row.ended_at is None else to_micros(row.ended_at),
        "duration_ms": row.duration_ms,
        "size_bytes": row.size_bytes,
        "hold": row.hold,
        "erase_after": None if row.erase_after is None else to_micros(row.erase_after),
        "matched": row.matched,
        "kept_from": None if row.kept_from is None else to_micros(row.kept_from),
    }


def from_columns(record: Any, details: CallDetails) -> CallRow:
    """Build a call from a record of the table and its opened details."""
    return CallRow(
        id=record.id,
        leaf=record.leaf,
        state=_STATES[record.state],
        started_at=from_micros(record.started_at),
        ended_at=None if record.ended_at is None else from_micros(record.ended_at),
        duration_ms=record.duration_ms,
        size_bytes=record.size_bytes,
        hold=record.hold,
        erase_after=None if record.erase_after is None else from_micros(record.erase_after),
        details=details,
        matched=record.matched,
        kept_from=None if record.kept_from is None else from_micros(record.kept_from),
        node=record.node,
    )


def met(needles: Iterable[Needle], forms: Sequence[str]) -> bool:
    """Return whether a call with these forms matches any of the needles."""
    have = frozenset(forms)
    return any(needle.meets(have) for needle in needles)
