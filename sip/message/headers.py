"""Header fields of one message: ordered, case-insensitive, repeatable; values are parsed only when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sip.errors import UnsafeOutput
from sip.message.grammar import MAX_LIST, cut

V = TypeVar("V")

_FULL_NAMES = (
    "Accept|Accept-Contact:a|Accept-Encoding|Accept-Language|Alert-Info|Allow|Allow-Events:u|Authorization|Call-ID:i|Call-Info|"
    "Contact:m|Content-Disposition|Content-Encoding:e|Content-Language|Content-Length:l|Content-Type:c|CSeq|Date|Diversion|"
    "Error-Info|Event:o|Expires|From:f|Geolocation|History-Info|Identity:y|Max-Forwards|MIME-Version|Min-Expires|Min-SE|"
    "P-Asserted-Identity|Privacy|Proxy-Require|RAck|Reason|Record-Route|Recv-Info|Refer-To:r|Referred-By:b|Reject-Contact:j|"
    "Remote-Party-ID|Replaces|Reply-To|Request-Disposition:d|Require|Retry-After|Route|RSeq|Server|Session-Expires:x|Session-ID|"
    "Subject:s|Supported:k|Timestamp|To:t|Unsupported|User-Agent|User-to-User|Via:v|Warning|WWW-Authenticate"
)
"""Usual spelling, with the compact form (RFC 3261 section 7.3.3 and the IANA registry) after the colon."""

_KNOWN: dict[str, str] = {}
for _entry in _FULL_NAMES.split("|"):
    _name, _, _compact = _entry.partition(":")
    _KNOWN[_name.lower()] = _name
    if _compact:
        _KNOWN[_compact] = _name


_USUAL = frozenset(_KNOWN.values())
"""Names in their usual spelling, in which nearly all look-ups come."""

USUAL_NAMES = {**_KNOWN, **{_name: _name for _name in _USUAL}}
"""Usual spelling by itself, by compact form and by lower case, in which peers send nearly all names."""


def full_name(name: str) -> str:
    """Return the usual spelling of a header name, also for a compact form; unknown names stay unchanged."""
    return USUAL_NAMES.get(name) or _KNOWN.get(name.lower(), name)


class Headers:
    """Header fields in order; names are case-insensitive, and compact forms are known."""

    __slots__ = ("_fields", "_index", "_once")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: list[tuple[str, str]] = []
        self._index: dict[str, list[str]] | None = None
        self._once: dict[Callable[[Headers], Any], Any] = {}
        for name, value in fields:
            self.add(name, value)

    @classmethod
    def received(cls, fields: list[tuple[str, str]]) -> Headers:
        """Create from fields of a received message, which cannot contain line ends; names must be from `full_name`."""
        headers = cls()
        headers._fields = fields
        return headers

    def _indexed(self) -> dict[str, list[str]]:
        """Return the values by name: in the usual spelling, or in lower case if there is none."""
        index = self._index
        if index is None:
            self._index = index = {}
            for key, value in self._fields:
                if key not in _USUAL:
                    key = key.lower()
                if key in index:
                    index[key].append(value)
                else:
                    index[key] = [value]
        return index

    def _lookup(self, name: str) -> list[str]:
        index = self._index or self._indexed()
        if name in index:
            return index[name]
        if name in _USUAL:
            return []
        name = full_name(name)
        return index.get(name if name in _USUAL else name.lower(), [])

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value, unparsed."""
        index = self._index or self._indexed()
        if name in index:  # mostly; it saves a call
            return index[name][0]
        values = self._lookup(name)
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        """Return the values of all fields with that name, unparsed."""
        return list(self._lookup(name))

    def values(self, name: str) -> list[str]:
        """Return the elements of all fields with that name as one list, split at commas outside quotes and <>."""
        raw = self._lookup(name)
        if len(raw) == 1:
            return cut(raw[0], ",")[:MAX_LIST]
        return [element for value in raw for element in cut(value, ",")][:MAX_LIST]

    def has_all(self, names: frozenset[str]) -> bool:
        """Return whether there is a field of each name; names must be in their usual spelling."""
        return names <= self._indexed().keys()

    def has_twice(self, names: frozenset[str]) -> bool:
        """Return whether any of the names occurs twice; names must be in their usual spelling."""
        index = self._indexed()
        if len(index) == len(self._fields):
            return False
        return any(len(values) > 1 for name, values in index.items() if name in names)

    def tokens(self, name: str) -> list[str]:
        """Return the list elements in lower case, for Require, Supported, Allow-Events and similar fields."""
        return [element.lower() for element in self.values(name)]

    def once(self, read: Callable[[Headers], V]) -> V:
        """Return the cached result of `read`, computed again only after a change; exceptions are not cached."""
        if read in self._once:
            found: V = self._once[read]
            return found
        found = self._once[read] = read(self)
        return found

    def add(self, name: str, value: str) -> None:
        """Append a field; raise UnsafeOutput if it contains a line end."""
        if "\r" in name or "\n" in name or "\r" in value or "\n" in value:
            raise UnsafeOutput("line end in a header field")
        self._fields.append((full_name(name), value))
        self._changed()

    def set(self, name: str, value: str) -> None:
        """Replace all fields with that name by one, at the position of the first."""
        key = full_name(name).lower()
        at = next((i for i, (known, _) in enumerate(self._fields) if known.lower() == key), len(self._fields))
        self.remove(name)
        self.add(name, value)
        self._fields.insert(at, self._fields.pop())

    def remove(self, name: str) -> None:
        """Remove all fields with that name."""
        key = full_name(name).lower()
        self._fields = [field for field in self._fields if field[0].lower() != key]
        self._changed()

    def _changed(self) -> None:
        self._index = None
        self._once = {}

    def items(self) -> Iterator[tuple[str, str]]:
        """Iterate over all fields in order."""
        return iter(self._fields)

    def copy(self) -> Headers:
        """Return an independent copy."""
        return Headers.received(list(self._fields))

    def __contains__(self, name: str) -> bool:
        return bool(self._lookup(name))

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]  # mutable, like a list

    def __repr__(self) -> str:
        # Values are personal data, so only names and counts are shown.
        return f"Headers({len(self._fields)} fields)"

    def __str__(self) -> str:
        return "".join(f"{name}: {value}\r\n" for name, value in self._fields)
