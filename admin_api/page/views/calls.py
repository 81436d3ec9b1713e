"""The list of calls: one search field for any spelling, filters, and self-updating live calls on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from admin_api.calls import calls
from admin_api.calls.call_views import Call, CallPage
from admin_api.http.permissions import Action
from admin_api.page.framework import date_ranges
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.page.views.call_summary import CallSummary, fingerprint, summary

MOST_LIVE = 20
"""Maximum number of live calls above the list; a link leads to all."""
PAGE = 50  # calls of one page
STATES = ("recording", "complete", "interrupted")
HOLDS = ("true", "false")
DIRECTIONS = ("inbound", "outbound", "internal")


@dataclass(frozen=True, slots=True)
class Question:
    """The search, as filled in."""

    party: str = ""
    """A person in any spelling."""
    since: str = ""
    """First day."""
    until: str = ""
    """Last day."""
    state: str = ""
    """One of STATES, or "" for every state."""
    hold: str = ""
    """One of HOLDS, or "" whether held or not."""
    direction: str = ""
    """One of DIRECTIONS, or "" for every one."""
    source: str = ""
    """The address that the recording came from."""
    zone: str = ""
    """Time zone of the days."""
    cursor: str = ""
    """Cursor of the page."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Question:
        """Read the query of a request."""
        found = {name: query.get(name, "").strip() for name in cls.__dataclass_fields__}
        for name, known in (("state", STATES), ("hold", HOLDS), ("direction", DIRECTIONS)):
            found[name] = found[name] if found[name] in known else ""
        return cls(**found)

    @property
    def anything(self) -> bool:
        """Return whether any field is filled in."""
        return bool(self.party or self.narrowed)

    @property
    def narrowed(self) -> bool:
        """Return whether any field but the party is filled in."""
        return bool(self.since or self.until or self.state or self.rarely)

    @property
    def rarely(self) -> bool:
        """Return whether any of the less common filters is filled in."""
        return bool(self.hold or self.direction or self.source)

    @property
    def with_live(self) -> bool:
        """Return whether to show live calls above the list: on the first page without a search."""
        return not (self.narrowed or self.cursor)

    def pairs(self, **changes: str) -> list[tuple[str, str]]:
        """Return the query string of a link to the same search."""
        given = {name: getattr(self, name) for name in SEARCHED}
        return [(name, value) for name, value in {**given, **changes}.items() if value]

    def asked(self) -> dict[str, str | None]:
        """Return the query of the API; raises Problem."""
        since, until = date_ranges.between(self.since, self.until, self.zone)
        known = {name: getattr(self, name) for name in ("party", "state", "hold", "direction", "source", "cursor")}
        return {**known, "since": since, "until": until}


SEARCHED = tuple(name for name in Question.__dataclass_fields__ if name != "cursor")
"""The fields that a form or link to a search carries."""


@view("GET", "/calls", Action.SEARCH, menu="calls")
async def listed(request: PageRequest) -> Response:
    """Show a page of calls."""
    question = Question.of(request.http.query_params)
    above: Sequence[CallSummary] = ()
    found = await request.found(search(request, question, PAGE))
    if question.with_live and not request.problem:
        above = rows((await request.found(_live(request, question)))["items"])
    known = {row.call["id"] for row in above}
    return request.page(
        "calls.html",
        block="found",
        question=question,
        rows=[row for row in rows(found["items"]) if row.call["id"] not in known],
        next_cursor=found["next_cursor"],
        incomplete=found.get("incomplete", False),
        states=STATES,
        directions=DIRECTIONS,
        **_above(above),
    )


@view("GET", "/calls/live", Action.SEARCH)
async def live(request: PageRequest) -> Response:
    """Refresh the live calls; 204 if only their lengths changed, so that the list is not redrawn."""
    question = Question.of(request.http.query_params)
    shown = _above(rows((await _live(request, question))["items"]))
    if request.asked("seen") == shown["seen"]:
        return Response(status_code=204)
    answer = request.part("calls.html", "live", question=question, **shown)
    answer.headers["HX-Trigger"] = "calls-moved"
    return answer


async def search(request: PageRequest, question: Question, limit: int) -> CallPage:
    """Search calls; raises Problem."""
    query = {**question.asked(), "limit": limit}
    return await calls.search.ask(request.caller(f"calls {query}"), query=query)


def rows(found: Iterable[Call]) -> list[CallSummary]:
    """Return a row for each call."""
    return [summary(call) for call in found]


async def _live(request: PageRequest, question: Question) -> CallPage:
    query = {"state": "recording", "party": question.party, "limit": MOST_LIVE + 1}
    return await calls.search.ask(request.caller(f"calls {query}"), query=query)


def _above(live: Sequence[CallSummary]) -> dict[str, Any]:
    return {"above": live[:MOST_LIVE], "even_more": len(live) > MOST_LIVE, "seen": fingerprint(live)}
