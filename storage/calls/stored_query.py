"""The JSON form of an erasure request's query, which is sealed with the request's reason."""

from collections.abc import Mapping
from typing import Any

from personal import Personal
from storage.calls.call_row import CallState, Direction, Query
from storage.timestamps import from_text, to_text


def written(query: Query | None) -> dict[str, Any]:
    """Return the query of a request as JSON values to seal."""
    if query is None:
        return {"party": None}
    since, until = (None if at is None else to_text(at) for at in (query.since, query.until))
    state = None if query.state is None else query.state.value
    more = {"since": since, "until": until, "state": state, "hold": query.hold, "source": query.source}
    direction = None if query.direction is None else query.direction.value
    party = None if query.party is None else query.party.reveal()
    return {"party": party, "query": {**more, "direction": direction}}


def read(told: Mapping[str, Any]) -> Query | None:
    """Parse what `written` returned; requests from before version 0.2 have no `query`."""
    more = told.get("query") or {}
    if told["party"] is None and not more:
        return None
    since, until = (None if more.get(n) is None else from_text(more[n]) for n in ("since", "until"))
    state = None if more.get("state") is None else CallState(more["state"])
    direction = None if more.get("direction") is None else Direction(more["direction"])
    hold, source = more.get("hold"), more.get("source")
    party = None if told["party"] is None else Personal(told["party"])
    return Query(party, since, until, state, hold=hold, direction=direction, source=source)
