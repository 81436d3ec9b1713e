"""Show the list of calls: one search field for any spelling, filters, and self-updating live calls on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from admin_api.http.messages import Message
from admin_api.http.permissions import Action
from admin_api.page.framework import date_ranges
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import PageRequest, View
from admin_api.page.views.call_summary import CallSummary, fingerprint, summary

MOST_LIVE = 20
"""Most live calls above the list; a link leads to all."""
PAGE = 50  # calls of one page
STATES = ("recording", "complete", "interrupted")
HOLDS = ("true", "false")
DIRECTIONS = ("inbound", "outbound", "internal")
NO_DAY = {
    "title": Message("problem.no-such-day", "No such day"),
    "detail": Message("problem.write-a-day", "A day is written as 2026-11-25."),
}
WRONG_ORDER = {
    "title": Message("problem.wrong-order", "From comes after To"),
    "detail": Message("problem.swap-the-days", "No call can match. Swap the two days, or leave one out."),
}


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

    def asked(self) -> dict[str, Any]:
        """Return the query of the API; raises BadDay."""
        date_ranges.in_order(self.since, self.until)
        return {
            "party": self.party,
            "since": date_ranges.begin(self.since, self.zone),
            "until": date_ranges.end(self.until, self.zone),
            "state": self.state,
            "hold": self.hold,
            "direction": self.direction,
            "source": self.source,
            "limit": PAGE,
            "cursor": self.cursor,
        }


SEARCHED = tuple(name for name in Question.__dataclass_fields__ if name != "cursor")
"""The fields that a form or link to a search carries."""


def bad_day(wrong: date_ranges.BadDay) -> Answer:
    """Return the problem with the days of a search."""
    return Answer(422, WRONG_ORDER if isinstance(wrong, date_ranges.WrongOrder) else NO_DAY)


async def listed(request: PageRequest) -> Response:
    """Show a page of calls."""
    question = Question.of(request.http.query_params)
    try:
        found = await request.api.get("/calls", question.asked(), again=request.from_htmx)
    except date_ranges.BadDay as wrong:
        found = bad_day(wrong)
    now = await _live(request, question.party) if question.with_live and found.well else None
    if now is not None and not now.well:
        found = now
    if request.from_htmx and not found.well:
        return Response(status_code=found.status)  # the shown calls stay, marked as possibly out of date
    above = _glances(now)
    known = {row.id for row in above}
    values = {
        "question": question,
        "problem": None if found.well else found.document,
        "rows": [summary(call) for call in found.items if call["id"] not in known],
        "next_cursor": found.next_cursor,
        "incomplete": found.incomplete,
        "states": STATES,
        "directions": DIRECTIONS,
    }
    if request.from_htmx:
        return request.part("calls.html", "found", **values)
    return request.page("calls.html", status=200 if found.well else found.status, **values, **_above(above))


async def live(request: PageRequest) -> Response:
    """Refresh the live calls; 204 if only their lengths changed, so that the list is not redrawn."""
    question = Question.of(request.http.query_params)
    now = await _live(request, question.party)
    if not now.well:
        return Response(status_code=now.status)
    shown = _above(_glances(now))
    if request.http.query_params.get("seen") == shown["seen"]:
        return Response(status_code=204)
    answer = request.part("calls.html", "live", question=question, **shown)
    answer.headers["HX-Trigger"] = "calls-moved"
    return answer


async def _live(request: PageRequest, party: str) -> Answer:
    asked: dict[str, str | int | None] = {"state": "recording", "party": party, "limit": MOST_LIVE + 1}
    return await request.api.get("/calls", asked, again=request.from_htmx)


def _glances(found: Answer | None) -> Sequence[CallSummary]:
    return [summary(call) for call in found.items] if found else ()


def _above(rows: Sequence[CallSummary]) -> dict[str, Any]:
    shown = rows[:MOST_LIVE]
    return {"above": shown, "even_more": len(rows) > MOST_LIVE, "seen": fingerprint(rows)}


VIEWS = (
    View("GET", "/calls", listed, Action.SEARCH, menu="calls"),
    View("GET", "/calls/live", live, Action.SEARCH),
)
