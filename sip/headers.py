"""Header fields of one message: ordered, case-blind, many-valued; values stay raw until somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sip.errors import UnsafeOutput
from sip.grammar import MAX_LIST, cut

V = TypeVar("V")

_FULL_NAMES = (
    "Accept|Accept-Contact:a|Accept-Encoding|Accept-Language|Alert-Info|Allow|Allow-Events:u|Authorization|Call-ID:i|Call-Info|"
    "Contact:m|Content-Disposition|Content-Encoding:e|Content-Language|Content-Length:l|Content-Type:c|CSeq|Date|Diversion|"
    "Error-Info|Event:o|Expires|From:f|Geolocation|History-Info|Identity:y|Max-Forwards|MIME-Version|Min-Expires|Min-SE|"
    "P-Asserted-Identity|Privacy|Proxy-Require|RAck|Reason|Record-Route|Recv-Info|Refer-To:r|Referred-By:b|Reject-Contact:j|"
    "Remote-Party-ID|Replaces|Reply-To|Request-Disposition:d|Require|Retry-After|Route|RSeq|Server|Session-Expires:x|Session-ID|"
    "Subject:s|Supported:k|Timestamp|To:t|Unsupported|User-Agent|User-to-User|Via:v|Warning|WWW-Authenticate"
)
"""Spelling to write, with the compact form (RFC 3261 section 7.3.3 and the IANA registry) behind the colon."""

_KNOWN: dict[str, str] = {}
for _entry in _FULL_NAMES.split("|"):
    _name, _, _compact = _entry.partition(":")
    _KNOWN[_name.lower()] = _name
    if _compact:
        _KNOWN[_compact] = _name


_USUAL = frozenset(_KNOWN.values())
"""Names in their usual spelling: what is asked for, nearly always."""


def full_name(name: str) -> str:
    """Give the usual spelling of a header name, compact forms written out; unknown names stay as they are."""
    return _KNOWN.get(name) or _KNOWN.get(name.lower(), name)


class Headers:
    """Header fields in their order; the names are compared without case and compact forms are known."""

    __slots__ = ("_fields", "_index", "_once")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: list[tuple[str, str]] = []
        self._index: dict[str, list[str]] | None = None
        self._once: dict[Callable[[Headers], Any], Any] = {}
        for name, value in fields:
            self.add(name, value)

    @classmethod
    def received(cls, fields: list[tuple[str, str]]) -> Headers:
        """Take fields that were cut from a message and so cannot hold line ends; names already by `full_name`."""
        headers = cls()
        headers._fields = fields
        return headers

    def _lookup(self, name: str) -> list[str]:
        if self._index is None:
            index: dict[str, list[str]] = {}
            self._index = index
            for key, value in self._fields:
                index.setdefault(key if key in _USUAL else key.lower(), []).append(value)
        found = self._index.get(name)
        if found is None and name not in _USUAL:
            name = full_name(name)
            found = self._index.get(name if name in _USUAL else name.lower())
        return found or []

    def get(self, name: str, default: str | None = None) -> str | None:
        """Give the first raw field value."""
        values = self._lookup(name)
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        """Give the raw values of all fields of that name."""
        return list(self._lookup(name))

    def values(self, name: str) -> list[str]:
        """Give the elements of all fields of that name as one list, cut at commas outside quotes and <>."""
        return [element for raw in self._lookup(name) for element in cut(raw, ",")][:MAX_LIST]

    def tokens(self, name: str) -> list[str]:
        """Give the list elements in lower case, for Require, Supported, Allow-Events and their like."""
        return [element.lower() for element in self.values(name)]

    def once(self, read: Callable[[Headers], V]) -> V:
        """Give what `read` makes of the fields, read anew only after a change; what it raises is raised each time."""
        found: V | None = self._once.get(read)
        if found is None:
            found = self._once[read] = read(self)
        return found

    def add(self, name: str, value: str) -> None:
        """Append a field; raise UnsafeOutput if it would break the line."""
        if any(c in text for text in (name, value) for c in "\r\n"):
            raise UnsafeOutput("line end in a header field")
        self._fields.append((full_name(name), value))
        self._changed()

    def set(self, name: str, value: str) -> None:
        """Replace all fields of that name by one, at the place of the first."""
        key = full_name(name).lower()
        at = next((i for i, (known, _) in enumerate(self._fields) if known.lower() == key), len(self._fields))
        self.remove(name)
        self.add(name, value)
        self._fields.insert(at, self._fields.pop())

    def remove(self, name: str) -> None:
        """Drop all fields of that name."""
        key = full_name(name).lower()
        self._fields = [field for field in self._fields if field[0].lower() != key]
        self._changed()

    def _changed(self) -> None:
        self._index = None
        self._once = {}

    def items(self) -> Iterator[tuple[str, str]]:
        """Walk over all fields in order."""
        return iter(self._fields)

    def copy(self) -> Headers:
        """Give an independent copy."""
        return Headers.received(list(self._fields))

    def __contains__(self, name: str) -> bool:
        return bool(self._lookup(name))

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]  # mutable, as list does it

    def __repr__(self) -> str:
        # Values are personal data: only names and counts are shown.
        return f"Headers({len(self._fields)} fields)"

    def __str__(self) -> str:
        return "".join(f"{name}: {value}\r\n" for name, value in self._fields)
