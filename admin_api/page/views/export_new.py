"""A new export: calls chosen by a search, columns in any order, format and media.

The form holds all its state: moving or adding a column or using a set posts it and returns it changed, so it works
without scripts and stores nothing on the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response

from admin_api.exports.columns import COLUMNS, About, usual
from admin_api.http.messages import Message
from admin_api.http.permissions import Action
from admin_api.page.framework import date_ranges
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import PageRequest, View
from admin_api.page.views.call_summary import summary
from admin_api.page.views.calls import SEARCHED, Question, bad_day
from storage.ids import is_id

MOST_CALLS = 500
"""Most calls that a form offers to tick; to export all calls of a person, no ticking is needed."""
FORMATS = ("xlsx", "csv", "json")
MEDIA = ("wav", "flac", "opus", "mp3", "mkv")
GROUPS = ((About.CALL, "call"), (About.SUBJECT, "subject"), (About.OTHERS, "others"))
NOTHING = {
    "title": Message("problem.no-call-chosen", "No call was chosen"),
    "detail": Message("problem.tick-calls", "Search for calls, then tick those that are to be exported."),
}

_OF_A_PAGE = ("limit", "cursor")
NO_NAME = {
    "title": Message("problem.no-set-name", "The set needs a name"),
    "detail": Message("problem.name-a-set", "It has 1 to 80 characters and no slash."),
}


@dataclass(frozen=True, slots=True)
class Draft:
    """The form as filled in so far."""

    question: Question
    """The search that finds the calls."""
    whole: bool
    """Export every call of the party or search, including those not shown."""
    calls: tuple[str, ...]
    """Ids that are ticked."""
    columns: tuple[str, ...]
    """Names in order."""
    format: str = FORMATS[0]
    """Of the table."""
    media: str = ""
    """Of the media files, "" for none."""
    silence: bool = False
    """Silence everybody but the party in the media files."""
    reason: str = ""
    """Why."""

    @classmethod
    def sent(cls, request: PageRequest) -> Draft:
        """Read the form."""
        form = request.form
        question = Question.of({name: request.one(name) for name in SEARCHED})
        names = tuple(dict.fromkeys(name for name in form.get("column", ()) if name in COLUMNS))
        return cls(
            question,
            whole=request.one("which") == "whole" and question.anything,
            calls=tuple(id for id in form.get("call", ()) if is_id(id)),
            columns=names,
            format=request.one("format") if request.one("format") in FORMATS else FORMATS[0],
            media=request.one("media") if request.one("media") in MEDIA else "",
            silence=request.one("silence") == "on",
            reason=request.one("reason"),
        )

    def moved(self, act: str) -> Draft:
        """Move or remove a column: "up 3", "down 3", "out 3"; any other text changes nothing."""
        what, _, number = act.partition(" ")
        places = [str(place) for place in range(len(self.columns))]
        if number not in places:
            return self
        at, names = places.index(number), list(self.columns)
        name = names.pop(at)
        if what in ("up", "down"):
            names.insert(max(at - 1, 0) if what == "up" else at + 1, name)
        return replace(self, columns=tuple(names)) if what in ("up", "down", "out") else self

    def body(self) -> dict[str, Any]:
        """Return the body for the API; raises BadDay."""
        person = self.whole and bool(self.question.party)
        silence = {"silence_others": True} if self.silence and person and self.media else {}
        columns = {"columns": list(self.columns)} if self.columns else {}
        media = self.media or None
        return {**self._whose(), **columns, **silence, "format": self.format, "media": media, "reason": self.reason}

    def _whose(self) -> dict[str, Any]:
        """Return the selection of calls."""
        if not self.whole:
            return {"calls": list(self.calls)}
        if not self.question.narrowed:
            return {"party": self.question.party}
        asked = {name: value for name, value in self.question.asked().items() if value and name not in _OF_A_PAGE}
        return {"query": asked | ({"hold": self.question.hold == "true"} if self.question.hold else {})}


async def new(request: PageRequest) -> Response:
    """Show the form for the calls that a search finds."""
    question = Question.of(request.http.query_params)
    party = bool(question.party)
    draft = Draft(question, party and not question.narrowed, (), usual(party))
    return await _shown(request, draft, fresh=True)


async def arrange(request: PageRequest) -> Response:
    """Return the form with a column moved, added or removed, or a set used, saved or deleted."""
    draft, act = Draft.sent(request), request.one("act")
    if act == "add" and request.one("more") in COLUMNS:
        return await _shown(
            request, replace(draft, columns=(*_without(draft, request.one("more")), request.one("more")))
        )
    if act == "usual":
        return await _shown(request, replace(draft, columns=usual(draft.whole and bool(draft.question.party))))
    if act == "take":
        return await _shown(request, await _taken(request, draft))
    if act == "save":
        return await _shown(request, draft, await _saved(request, draft))
    if act == "drop":
        await request.api.send("DELETE", f"/column-sets/{_id(request.one('set'))}")
        return await _shown(request, draft)
    return await _shown(request, draft.moved(act))


async def create(request: PageRequest) -> Response:
    """Request the export, and redirect to its progress."""
    draft = Draft.sent(request)
    if not draft.whole and not draft.calls:
        return await _shown(request, draft, Answer(422, NOTHING))
    try:
        body = draft.body()
    except date_ranges.BadDay as wrong:
        return await _shown(request, draft, bad_day(wrong))
    answer = await request.api.send("POST", "/exports", body)
    return request.moved(f"/exports/{answer.document['id']}") if answer.well else await _shown(request, draft, answer)


async def _saved(request: PageRequest, draft: Draft) -> Answer | None:
    """Save the columns as a set; return a refusal, if any."""
    name = request.one("name").strip()
    if not name or "/" in name:
        return Answer(422, NO_NAME)
    answer = await request.api.send("PUT", f"/column-sets/{name}", {"columns": list(draft.columns)})
    return None if answer.well else answer


async def _taken(request: PageRequest, draft: Draft) -> Draft:
    wanted = request.one("set")
    for kept in (await request.api.get("/column-sets")).items:
        if kept["id"] == wanted:
            return replace(draft, columns=tuple(name for name in kept["columns"] if name in COLUMNS))
    return draft


async def _shown(request: PageRequest, draft: Draft, problem: Answer | None = None, *, fresh: bool = False) -> Response:
    found = await _found(request, draft.question)
    kept = await request.api.get("/column-sets")
    refused = problem or (None if found.well else found)
    rows = [summary(call) for call in found.items]
    return request.page(
        "export_new.html",
        status=refused.status if refused else 200,
        problem=refused.document if refused else None,
        draft=draft,
        rows=rows,
        ticked={row.id for row in rows} if fresh else set(draft.calls),
        more=found.next_cursor is not None,
        incomplete=found.incomplete,
        groups=_groups(draft.columns),
        chosen=[COLUMNS[name] for name in draft.columns],
        others=any(COLUMNS[name].about is About.OTHERS for name in draft.columns),
        sets=kept.items,
        formats=FORMATS,
        media=MEDIA,
    )


async def _found(request: PageRequest, question: Question) -> Answer:
    try:
        asked: Mapping[str, Any] = {**question.asked(), "limit": MOST_CALLS}
    except date_ranges.BadDay as wrong:
        return bad_day(wrong)
    return await request.api.get("/calls", asked) if question.anything else Answer(200, {"items": []})


def _groups(chosen: Sequence[str]) -> list[tuple[str, list[Any]]]:
    """Return the columns that can be added, by whom they are about."""
    left = [column for column in COLUMNS.values() if column.name not in chosen]
    return [(group, [column for column in left if column.about is about]) for about, group in GROUPS]


def _without(draft: Draft, name: str) -> tuple[str, ...]:
    return tuple(each for each in draft.columns if each != name)


def _id(text: str) -> str:
    return text if is_id(text) else "-"


VIEWS = (
    View("GET", "/exports/new", new, Action.EXPORT),
    View("POST", "/exports/arrange", arrange, Action.EXPORT),
    View("POST", "/exports/new", create, Action.EXPORT),
)
