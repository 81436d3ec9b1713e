"""Query parameters: each is read and described in the same place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from admin_api.http.problems import Problem, invalid
from storage.calls.call_row import MAX_LIMIT, CallState, Direction
from storage.erasure.erasure_rows import State as ErasureState

MAX_PARTY = 512  # characters; the longest URIs that SBCs send have some 200
MAX_SOURCE = 253  # characters; the longest name of a host
MAX_CURSOR = 256  # characters; ours have up to 80
AHEAD = timedelta(days=1)  # what came or was signed later than now is a slip; zones and clocks differ by less
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+ -]\d\d:\d\d)")
FORMATS = ("wav", "flac", "opus", "mp3", "mkv", "pcap")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter: how it is read and how it is described."""

    name: str
    """Name in the query."""
    read: Callable[[str], Any]
    """Turn the text into a value; raises ValueError."""
    right: str
    """What would be right, as a phrase that follows "must be"."""
    schema: dict[str, Any] = field(hash=False)
    """JSON schema of the text."""
    example: str
    """A value as in the documentation."""
    default: Any = None
    """The value if it is not given."""


def time(text: str) -> datetime:
    """Read an RFC 3339 time with its zone; raises ValueError.

    A plus sign that was not escaped in a query arrives as a blank.
    """
    if not text.isascii() or not _TIME.fullmatch(text):
        raise ValueError
    day, clock = text[:10], text[11:].replace(" ", "+").upper()
    try:
        return datetime.fromisoformat(f"{day}T{clock}").astimezone(UTC)
    except OverflowError:  # year 1 east of Greenwich
        raise ValueError from None


def is_party(value: object) -> bool:
    """Say whether a value can name whom to look for."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_PARTY


def party(text: str) -> str:
    """Read whom to look for; raises ValueError. A plus sign that was not escaped arrives as a blank."""
    if not is_party(text):
        raise ValueError
    return "+" + text[1:] if re.match(r" \d", text) else text


def limit(text: str) -> int:
    """Read the length of a page; raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError
    return int(text)


def cursor(text: str) -> str:
    """Read a cursor; raises ValueError."""
    if len(text) > MAX_CURSOR or not re.fullmatch(r"[A-Za-z0-9_.=-]+", text):
        raise ValueError
    return text


def yes_or_no(text: str) -> bool:
    """Read a word of JSON; raises ValueError."""
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def line(most: int, *, blank: bool = False) -> Callable[[str], str]:
    """Return what reads a text of at most `most` characters, which may be `blank`; it raises ValueError."""

    def read(text: str) -> str:
        if len(text) > most or not (blank or text.strip()):
            raise ValueError
        return text

    return read


def word(*known: str) -> Callable[[str], str]:
    """Return what reads one of these words; it raises ValueError."""

    def read(text: str) -> str:
        if text not in known:
            raise ValueError
        return text

    return read


_MOMENT = {"type": "string", "format": "date-time"}
PARTY = Parameter(
    "party",
    party,
    f"a number, URI, name, e-mail or user, at most {MAX_PARTY} characters",
    {"type": "string", "minLength": 1, "maxLength": MAX_PARTY},
    "+49 30 1234567",
)
SINCE = Parameter("since", time, "an RFC 3339 time with its zone", _MOMENT, "2026-01-01T00:00:00Z")
UNTIL = Parameter("until", time, "an RFC 3339 time with its zone", _MOMENT, "2026-02-01T00:00:00Z")
STATE = Parameter(
    "state",
    CallState,
    "recording, complete or interrupted",
    {"type": "string", "enum": [state.value for state in CallState]},
    "complete",
)
HOLD = Parameter("hold", yes_or_no, "true or false", {"type": "boolean"}, "true")
DIRECTION = Parameter(
    "direction",
    Direction,
    "inbound, outbound or internal",
    {"type": "string", "enum": [direction.value for direction in Direction]},
    "inbound",
)
SOURCE = Parameter(
    "source",
    line(MAX_SOURCE),
    f"an address as calls show it, at most {MAX_SOURCE} characters",
    {"type": "string", "minLength": 1, "maxLength": MAX_SOURCE},
    "192.0.2.10",
)
ERASURES = Parameter(
    "state",
    ErasureState,
    "approval, running, waiting or done",
    {"type": "string", "enum": [state.value for state in ErasureState]},
    "done",
)
LIMIT = Parameter(
    "limit",
    limit,
    f"a whole number from 1 to {MAX_LIMIT}",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50},
    "50",
    50,
)
CURSOR = Parameter(
    "cursor",
    cursor,
    "`next_cursor` of the page before",
    {"type": "string", "maxLength": MAX_CURSOR},
    "MjA0NjAuMTc2Nzc",
)
FORMAT = Parameter(
    "format", word(*FORMATS), f"one of {', '.join(FORMATS)}", {"type": "string", "enum": list(FORMATS)}, "wav", "wav"
)


def read(parameters: Sequence[Parameter], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read a query; raises Problem 422, which names declared parameters only and repeats nothing."""
    known = {parameter.name: parameter for parameter in parameters}
    values = {parameter.name: parameter.default for parameter in parameters}
    errors: list[dict[str, str]] = []
    given: set[str] = set()
    for name, text in pairs:
        parameter = known.get(name)
        if parameter is None:
            errors.append(
                {"in": "query", "reason": f"there is an unknown parameter; known here: {', '.join(known) or 'none'}"}
            )
        elif name in given:
            errors.append({"in": "query", "name": name, "reason": "must be given once"})
        else:
            given.add(name)
            try:
                values[name] = parameter.read(text)
            except ValueError:
                errors.append({"in": "query", "name": name, "reason": f"must be {parameter.right}"})
    if errors:
        raise invalid(list({tuple(error.items()): error for error in errors}.values()))
    return values


def bad_cursor() -> Problem:
    """Return what a cursor is answered that was not made here."""
    return invalid([{"in": "query", "name": "cursor", "reason": f"must be {CURSOR.right}"}])
