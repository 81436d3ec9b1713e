"""A new export: calls chosen by a search, columns in any order, format and media.

The form holds all its state: moving or adding a column or using a set posts it and returns it changed, so it works
without scripts and stores nothing on the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response

from admin_api.calls.call_views import CallPage
from admin_api.exports import column_sets, exports
from admin_api.http.messages import Message
from admin_api.http.permissions import Action
from admin_api.http.problems import Problem
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.page.views import calls
from admin_api.page.views.calls import SEARCHED, Question
from storage.exports.columns import COLUMNS, About, usual
from storage.ids import is_id

MOST_CALLS = 500
"""Maximum number of calls that a form offers to tick; to export all calls of a person, no ticking is needed."""
FORMATS = ("xlsx", "csv", "json")
MEDIA = ("wav", "flac", "opus", "mp3", "mkv")
GROUPS = ((About.CALL, "call"), (About.SUBJECT, "subject"), (About.OTHERS, "others"))


@dataclass(frozen=True, slots=True)
class Draft:
    """The form as filled in so far."""

    question: Question
    """The search that finds the calls."""
    whole: bool
    """Export every call of the party or search, including those not shown."""
    calls: tuple[str, ...]
    """Ids of the ticked calls."""
    columns: tuple[str, ...]
    """Names of the columns in order."""
    format: str = FORMATS[0]
    """Format of the table."""
    media: str = ""
    """Format of the media files, "" for none."""
    silence: bool = False
    """Silence everybody except the party in the media files."""
    reason: str = ""
    """The reason."""

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
        """Return the body for the API; raises Problem."""
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
        asked = {name: value for name, value in self.question.asked().items() if value and name != "cursor"}
        return {"query": asked | ({"hold": self.question.hold == "true"} if self.question.hold else {})}


@view("GET", "/exports/new", Action.EXPORT)
async def new(request: PageRequest) -> Response:
    """Show the form for the calls that a search finds."""
    question = Question.of(request.http.query_params)
    party = bool(question.party)
    draft = Draft(question, party and not question.narrowed, (), usual(party))
    return await _shown(request, draft, fresh=True)


async def _sent(request: PageRequest) -> Response:
    return await _shown(request, Draft.sent(request))


@view("POST", "/exports/arrange", Action.EXPORT, form=_sent)
async def arrange(request: PageRequest) -> Response:
    """Return the form with a column moved, added or removed, or a set used, saved or deleted."""
    draft, act, more = Draft.sent(request), request.one("act"), request.one("more")
    if act == "add" and more in COLUMNS:
        draft = replace(draft, columns=(*(name for name in draft.columns if name != more), more))
    elif act == "usual":
        draft = replace(draft, columns=usual(draft.whole and bool(draft.question.party)))
    elif act == "take":
        sets = (await column_sets.list_sets(request.caller()))["items"]
        wanted = next((each["columns"] for each in sets if each["id"] == request.one("set")), draft.columns)
        draft = replace(draft, columns=tuple(name for name in wanted if name in COLUMNS))
    elif act == "save":
        name = request.one("name").strip()
        if not name or "/" in name:
            right = Message("problem.name-a-set", "It has 1 to 80 characters and no slash.")
            raise Problem(422, "invalid", Message("problem.no-set-name", "The set needs a name"), right)
        await column_sets.put.ask(request.caller(), name, body={"columns": list(draft.columns)})
    elif act == "drop":
        await column_sets.delete(request.caller(), request.one("set"))
    return await _shown(request, draft.moved(act))


@view("POST", "/exports/new", Action.EXPORT, form=_sent)
async def create(request: PageRequest) -> str:
    """Request the export, and go to its progress."""
    draft = Draft.sent(request)
    if not draft.whole and not draft.calls:
        tick = Message("problem.tick-calls", "Search for calls, then tick those that are to be exported.")
        raise Problem(422, "invalid", Message("problem.no-call-chosen", "No call was chosen"), tick)
    made = await exports.create.ask(request.caller(), body=draft.body())
    return f"/exports/{made['id']}"


async def _shown(request: PageRequest, draft: Draft, *, fresh: bool = False) -> Response:
    empty: CallPage = {"items": [], "next_cursor": None}
    asked = draft.question.anything
    found = await request.found(calls.search(request, draft.question, MOST_CALLS)) if asked else empty
    rows = calls.rows(found["items"])
    return request.page(
        "export_new.html",
        draft=draft,
        rows=rows,
        ticked={row.call["id"] for row in rows} if fresh else set(draft.calls),
        more=found["next_cursor"] is not None,
        incomplete=found.get("incomplete", False),
        groups=_groups(draft.columns),
        chosen=[COLUMNS[name] for name in draft.columns],
        others=any(COLUMNS[name].about is About.OTHERS for name in draft.columns),
        sets=(await column_sets.list_sets(request.caller()))["items"],
        formats=FORMATS,
        media=MEDIA,
    )


def _groups(chosen: Sequence[str]) -> list[tuple[str, list[Any]]]:
    """Return the columns that can be added, by whom they are about."""
    left = [column for column in COLUMNS.values() if column.name not in chosen]
    return [(group, [column for column in left if column.about is about]) for about, group in GROUPS]
