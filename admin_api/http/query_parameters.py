"""Query parameters: each is parsed and described in one place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from admin_api.http.problems import Problem, invalid
from personal import Personal
from storage.calls.call_row import MAX_LIMIT, CallState, Direction
from storage.erasure.erasure_rows import State as ErasureState

MAX_PARTY = 512  # characters; the longest URIs that SBCs send have some 200
MAX_SOURCE = 253  # characters; the longest name of a host
MAX_CURSOR = 256  # characters; ours have up to 80
AHEAD = timedelta(days=1)  # a date further in the future is a mistake; zones and clocks differ by less
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+ -]\d\d:\d\d)")
FORMATS = ("wav", "flac", "opus", "mp3", "mkv", "pcap")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter: its parser and its description."""

    name: str
    """Name in the query."""
    read: Callable[[str], Any]
    """Parse the text; raises ValueError."""
    right: str
    """What is valid, as a phrase after "must be"."""
    schema: dict[str, Any] = field(hash=False)
    """JSON schema of the text."""
    example: str
    """An example value for the documentation."""
    default: Any = None
    """The default value."""


def time(text: str) -> datetime:
    """Read an RFC 3339 time with its zone; raises ValueError.

    An unescaped plus sign in a query arrives as a space.
    """
    if not text.isascii() or not _TIME.fullmatch(text):
        raise ValueError
    day, clock = text[:10], text[11:].replace(" ", "+").upper()
    try:
        return datetime.fromisoformat(f"{day}T{clock}").astimezone(UTC)
    except OverflowError:  # year 1 east of Greenwich
        raise ValueError from None


def is_party(value: object) -> bool:
    """Return whether a value can name a party."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_PARTY


def party(text: str) -> str:
    """Read the party to look for; raises ValueError. An unescaped plus sign arrives as a space."""
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
    """Read true or false; raises ValueError."""
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def line(most: int, *, blank: bool = False) -> Callable[[str], str]:
    """Return a parser for a text of at most `most` characters, which may be `blank`; it raises ValueError."""

    def read(text: str) -> str:
        if len(text) > most or not (blank or text.strip()):
            raise ValueError
        return text

    return read


def word(*known: str) -> Callable[[str], str]:
    """Return a parser for one of these words; it raises ValueError."""

    def read(text: str) -> str:
        if text not in known:
            raise ValueError
        return text

    return read


_MOMENT = {"type": "string", "format": "date-time"}
PARTY = Parameter(
    "party",
    lambda text: Personal(party(text)),
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
    """Read a query; raises Problem 422, which names only declared parameters and repeats no values."""
    known = {parameter.name: parameter for parameter in parameters}
    values = {parameter.name: parameter.default for parameter in parameters}
    errors: list[dict[str, str]] = []
    given: set[str] = set()
    for name, text in pairs:
        parameter = known.get(name)
        if parameter is None:
            errors.append(
                {"in": "query", "reason": f"unknown parameter; the known ones are {', '.join(known) or 'none'}"}
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
    """Return the answer to a cursor that this server did not issue."""
    return invalid([{"in": "query", "name": "cursor", "reason": f"must be {CURSOR.right}"}])
