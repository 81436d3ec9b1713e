"""A call as the index keeps it: values, the sealed part of a row, and the position of a row in lists."""

import base64
import binascii
import enum
import ipaddress
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from storage.calls.call_document import CallDetails, CallDocument
from storage.cursors import BadCursor, by_time, read_by_time
from storage.errors import StorageError
from storage.json_bytes import utf8_json
from storage.search_forms import Needle
from storage.timestamps import from_micros, rfc3339, to_micros

DAY_SHIFT = 32  # a leaf is day << 32 | number
DEFAULT_LIMIT = 50
MAX_LIMIT = 1000  # rows of one page: opening the sealed part of more would hold up the event loop for over 100 ms
MAX_SEALED = 16 << 20  # bytes of one row's details; a conference of 80 with every event has 0.2 MB
_FORMAT = b"\x01"  # first byte of the sealed plaintext: JSON, deflated
_WINDOW_BITS = 12  # 4 KiB: a row's details have two
_DAY = re.compile("[0-9]{1,5}")


class BadDetails(StorageError):
    """The sealed part of a row is of a format this program does not know, or too large."""


class CallState(enum.StrEnum):
    """How far a recording is."""

    RECORDING = "recording"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"


class Direction(enum.StrEnum):
    """Which way a call went, seen from the customer."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    INTERNAL = "internal"


STATE_CODES = {CallState.RECORDING: 0, CallState.COMPLETE: 1, CallState.INTERRUPTED: 2}
_STATES = {code: state for state, code in STATE_CODES.items()}


@dataclass(frozen=True, slots=True)
class CallRow:
    """One recording."""

    id: str
    """Random id of the call."""
    leaf: int
    """Leaf of the key tree that everything personal of the call is sealed under."""
    state: CallState
    """Recording, complete or interrupted."""
    started_at: datetime
    """Begin by the recorder's clock."""
    ended_at: datetime | None
    """End by the recorder's clock, None while recording."""
    duration_ms: int
    """Length by the monotonic clock."""
    size_bytes: int
    """Bytes in the vault."""
    hold: bool = False
    """Under legal hold; `Calls.put` sets it for a new call and leaves it alone for a known one."""
    erase_after: datetime | None = None
    """When retention ends, None if never or not known yet."""
    details: CallDetails = field(default_factory=CallDetails, repr=False)
    """Everything else, JSON-able, sealed in the database: session_id, parties, streams."""
    matched: bool = False
    """Its parties were looked for among the users of the directory (storage.directory.matcher)."""
    kept_from: datetime | None = None
    """When it really ended, where the clock was set back before; None where `ended_at` says it."""

    def columns_shown(self) -> CallDocument:
        """Return the members of its document that stand in columns of their own."""
        return {
            "id": self.id,
            "state": self.state.value,
            "started_at": rfc3339(self.started_at),
            "ended_at": rfc3339(self.ended_at),
            "duration_ms": self.duration_ms,
            "size_bytes": self.size_bytes,
        }

    @property
    def day(self) -> int:
        """Day of the leaf, in days since 1970-01-01 UTC."""
        return self.leaf >> DAY_SHIFT


@dataclass(frozen=True, slots=True)
class Amended:
    """A call in which something was found out later."""

    id: str
    """Id of the call."""
    leaf: int
    """Its leaf."""
    version: int
    """Version of the row that this was decided on; a newer row is not changed."""
    sealed: bytes | None = None
    """Details and forms as they should be (storage.calls.call_index.Calls.seal), None if nothing is new."""
    erase_after: int | None = None
    """When retention ends, in microseconds since 1970-01-01 UTC; for a call with something new."""
    gained: frozenset[str] = frozenset()
    """Search forms that it did not have."""
    lost: frozenset[str] = frozenset()
    """Search forms that it has lost."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; everything left out matches every call."""

    party: str | None = field(default=None, repr=False)
    """A number, URI, name, e-mail or user id in any spelling."""
    since: datetime | None = None
    """Only calls that started at or after."""
    until: datetime | None = None
    """Only calls that started before."""
    state: CallState | None = None
    """Only calls in this state."""
    limit: int = DEFAULT_LIMIT
    """Items of a page, at most MAX_LIMIT."""
    cursor: str | None = None
    """`next_cursor` of the page before."""
    related: tuple[str, ...] = field(default=(), repr=False)
    """Names of a call, of which any will do; not together with a party."""
    user: str | None = None
    """Id of a user who is a party, or may be one where several may; not together with a party."""
    exact: bool = False
    """Do not take digits for the last digits of a longer number: for erasure, which must not reach a second person."""
    hold: bool | None = None
    """Only calls under legal hold, or only those that are not."""
    direction: Direction | None = None
    """Only calls that went this way."""
    source: str | None = field(default=None, repr=False)
    """Only calls from this address, in any spelling."""

    def meets(self, details: Mapping[str, Any]) -> bool:
        """Say whether direction and source of a call are those asked for; the columns only narrow the search."""
        if self.direction is not None and details.get("direction") != self.direction.value:
            return False
        return self.source is None or canonical_source(details.get("source")) == canonical_source(self.source)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A call that the index does not have yet, or has in an older state."""

    id: str
    """Id of the call."""
    leaf: int
    """Its leaf."""
    started_at: datetime
    """Begin by the recorder's clock."""
    live: bool
    """It is being recorded."""
    made: Callable[[], tuple[CallRow, tuple[str, ...]] | None] = field(repr=False)
    """Make its row and search forms, as they will be in the index; None if it was erased. Asked only if it may be
    meant: a row costs as much as all else that is done for a short call."""

    @property
    def position(self) -> "Position":
        """Give its position."""
        return Position(self.leaf >> DAY_SHIFT, to_micros(self.started_at), self.id)

    def may_meet(self, query: Query, after: "Position | None") -> bool:
        """Say whether a query may mean it, as far as that is known before its row is made."""
        if after is not None and self.position >= after:
            return False
        if query.state is not None and (query.state is CallState.RECORDING) is not self.live:
            return False
        early = query.since is not None and self.started_at < query.since
        return not early and (query.until is None or self.started_at < query.until)


@dataclass(frozen=True, slots=True)
class Page:
    """Some calls, newest first."""

    items: tuple[CallRow, ...]
    """Calls of this page."""
    next_cursor: str | None
    """Where the next page begins, None after the last."""
    unreadable: int = 0
    """Rows left out because their sealed part is damaged; `recorder verify` names them."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Place of a call in lists: by day, then start, then id."""

    day: int
    """Day of the leaf."""
    started: int
    """Start in microseconds since 1970-01-01 UTC."""
    id: str
    """Id of the call."""

    @classmethod
    def of(cls, row: CallRow) -> "Position":
        """Give the position of a call."""
        return cls(row.day, to_micros(row.started_at), row.id)

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """Read a cursor; raises BadCursor."""
        try:
            text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
        except (binascii.Error, ValueError):
            raise BadCursor from None
        day, _, rest = text.partition(".")
        if not _DAY.fullmatch(day):
            raise BadCursor
        return cls(int(day), *read_by_time(rest))

    def __str__(self) -> str:
        text = f"{self.day}.{by_time(self.started, self.id)}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def canonical_source(source: object) -> str:
    """Write an address in the one way in which it is compared; the case of a name is folded."""
    text = str(source or "").strip()
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return text.casefold()
    return str(getattr(address, "ipv4_mapped", None) or address)  # `::ffff:192.0.2.7` on an IPv6 socket is 192.0.2.7


def pack(details: CallDetails, forms: Sequence[str]) -> bytes:
    """Serialise what is to be sealed: details and search forms; raises BadDetails if it is too large."""
    data = utf8_json({"details": details, "forms": list(forms)})
    if len(data) > MAX_SEALED:
        raise BadDetails("the details of a call are too large")
    # a small window: clearing the usual quarter of a megabyte takes ten times as long as packing 2 kB
    packer = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS)
    return _FORMAT + packer.compress(data) + packer.flush()


def unpack(plain: bytes) -> tuple[CallDetails, tuple[str, ...]]:
    """Read what `pack` wrote; raises BadDetails."""
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(plain[1:], MAX_SEALED)
        document = json.loads(data.decode("utf-8", "surrogatepass"))
        details, forms = document["details"], tuple(document["forms"])
    except (zlib.error, ValueError, KeyError, TypeError, RecursionError):
        raise BadDetails("the details of a call cannot be read") from None
    if plain[:1] != _FORMAT or not isinstance(details, dict):
        raise BadDetails("the details of a call are of an unknown format")
    return cast("CallDetails", details), forms


def columns(row: CallRow) -> dict[str, Any]:
    """Give the columns in the clear."""
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
    )


def met(needles: Iterable[Needle], forms: Sequence[str]) -> bool:
    """Say whether a call with these forms is meant by any of the needles."""
    have = frozenset(forms)
    return any(needle.meets(have) for needle in needles)
