"""Read the conditions by which an erasure, an export or a data subject request selects calls."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from admin_api.http import body_reader, query_parameters
from personal import Personal
from storage.calls.call_row import CallState, Direction, Query

W = TypeVar("W", bound=StrEnum)

CONDITIONS = ("party", "since", "until", "state", "hold", "direction", "source")


def conditions(given: object) -> tuple[Query, list[dict[str, str]]]:
    """Read the search conditions, and the errors in them.

    At least one is required, so that an omission does not erase or export everything.
    """
    wanted = body_reader.Members(given, CONDITIONS, "query")
    if not wanted.errors and not any(name in wanted for name in CONDITIONS):
        wanted.wrong("", "needs at least one condition")
    party = wanted.text("party", query_parameters.MAX_PARTY) if "party" in wanted else None
    since, until = (wanted.moment(name) if name in wanted else None for name in ("since", "until"))
    source = wanted.text("source", query_parameters.MAX_SOURCE) if "source" in wanted else None
    hold = wanted.raw("hold")
    if "hold" in wanted and not isinstance(hold, bool):
        wanted.wrong("hold", f"must be {query_parameters.HOLD.right}")
    state, direction = _word(wanted, "state", CallState), _word(wanted, "direction", Direction)
    named = None if party is None else Personal(party)
    return Query(named, since, until, state, hold=hold, direction=direction, source=source), wanted.errors


def _word(wanted: body_reader.Members, name: str, words: type[W]) -> W | None:
    """Read an optional word from a list."""
    said = wanted.raw(name)
    if name in wanted and said not in list(words):
        wanted.wrong(name, f"must be one of {', '.join(words)}")
        return None
    return words(said) if name in wanted else None
