"""The conditions by which a search, an erasure or an export selects calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from admin_api.http.messages import Message
from admin_api.http.problems import Fault
from admin_api.http.types import MAX_PARTY, MAX_SOURCE, Given, Moment, Party, right, said
from personal import Personal
from storage.calls.call_row import CallState, Direction, Query

WAYS = ("calls", "party", "query")
"""Members of a body that select calls; exactly one of them is given."""
ONE_WAY = {"oneOf": [{"required": [way]} for way in WAYS]}
RIGHT_PARTY = right(
    Message("reason.party", "must be a number, URI, name, e-mail or user, at most {most} characters").of(most=MAX_PARTY)
)

_TEXT = Meta(extra_json_schema={"type": "string"})
CallIds = Annotated[list[str], Meta(min_length=1), right(Message("reason.calls", "must be a list of ids of calls"))]


def search(conditions: Mapping[str, Any]) -> Query:
    """Return the search by conditions; the party is a personal value."""
    named = conditions.get("party")
    return Query(**{**conditions, "party": None if named is None else Personal(named)})


class Conditions(Given):
    """Conditions in a body.

    At least one is required, so that an omission does not erase or export everything.
    """

    party: Party | UnsetType = UNSET
    since: Moment | UnsetType = UNSET
    until: Moment | UnsetType = UNSET
    state: Annotated[CallState, _TEXT] | UnsetType = UNSET
    hold: bool | UnsetType = UNSET
    direction: Annotated[Direction, _TEXT] | UnsetType = UNSET
    source: Annotated[str, said(MAX_SOURCE)] | UnsetType = UNSET

    schema: ClassVar[Mapping[str, Any]] = {
        "minProperties": 1,
        "description": "Everything that GET /calls finds with these; for an erasure, last digits alone match nobody.",
    }

    def faults(self) -> Iterable[Fault]:
        """Require a condition."""
        if not self._named:
            yield "", Message("reason.no-condition", "needs at least one condition")

    @property
    def search(self) -> Query:
        """Return the search."""
        return search(self._named)

    @property
    def _named(self) -> dict[str, Any]:
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}


def one_way(body: Given) -> Iterable[Fault]:
    """Require exactly one of WAYS."""
    if sum(getattr(body, way) is not UNSET for way in WAYS) != 1:
        yield "calls", Message("reason.one-way", "exactly one of calls, party and query must be given")
