"""The audit log: who did what, newest first, by person, action or call; also as a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.operations import audit
from admin_api.page.framework.date_ranges import midnight
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.page.framework.translations import Translations
from storage.ids import is_id

PAGE = 100
"""Entries of one page."""
ASKED = ("since", "actor", "action", "object")
"""Fields of the form."""
PLACES: Mapping[str, tuple[str, Action]] = {
    "call": ("calls", Action.VIEW),
    "export": ("exports", Action.EXPORT_STATE),
    "request": ("requests", Action.REQUEST_STATE),
    "erasure": ("erasures", Action.ERASURE_STATE),
    "user": ("users", Action.USER),
}
"""View of an entry's object, by the start of the action's name, with the action that the view needs."""
OTHERS = (
    "export.done export.fail retention.sweep retention.brake erasure.cut erasure.wait erasure.done users.import "
    "audit.repair audit.broken audit.accept data.backup data.restore customer.add customer.title customer.close "
    "customer.remove keys.rotate keys.backup keys.restore session.open session.close account.create account.reset "
    "account.roles account.disable account.enable account.remove account.password account.app account.passkey "
    "account.recovery account.drop token.create token.revoke audit.node journal.accept"
).split()
"""Actions outside the API: of the recorder itself, of signing in and of commands."""


def _subject(action: str) -> str:
    return action.partition(".")[0].removesuffix("s")


_SUBJECTS = list(dict.fromkeys(map(_subject, (*Action, *OTHERS))))
ACTIONS = sorted((*Action, *OTHERS), key=lambda action: (action == Action.UNKNOWN, _SUBJECTS.index(_subject(action))))
"""All actions, grouped by their subject."""

LABELS = ("media", "erasure", "node", "the request is", "provider:")
"""Words in a detail that are followed by a value."""


@view("GET", "/audit", Action.AUDIT, menu="audit")
async def listed(request: PageRequest) -> Response:
    """Show one page of entries."""
    asked = _asked(request)
    query = {**_query(asked), "cursor": request.asked("cursor"), "limit": PAGE}
    return await request.listed(
        "audit.html",
        audit.list_entries.ask(request.caller(), query=query),
        asked=asked,
        is_id=is_id,
        place=lambda entry: place(request, entry),
        actions=ACTIONS,
        in_words=lambda reason: in_words(request.translations, reason),
    )


@view("GET", "/audit/file", Action.AUDIT_FILE, file=True)
async def file(request: PageRequest) -> Response:
    """Answer with all matching entries as a file."""
    query = {**_query(_asked(request)), "format": request.asked("format")}
    return await audit.file.ask(request.caller(), query=query)


def place(request: PageRequest, entry: Mapping[str, Any]) -> str:
    """Return the path of the view of an entry's object, "" if there is none or this person may not see it."""
    folder, action = PLACES.get(str(entry["action"]).partition(".")[0], ("", Action.AUDIT))
    return f"/{folder}/{entry['object']}" if folder and is_id(str(entry["object"])) and request.may(action) else ""


def _asked(request: PageRequest) -> dict[str, str]:
    """Return the fields of the form."""
    return {name: value for name in ASKED if (value := request.asked(name))}


def _query(asked: Mapping[str, str]) -> dict[str, object]:
    """Return the query for the API."""
    return {**asked, "since": midnight(asked.get("since", ""))}


def in_words(_: Translations, reason: str) -> str:
    """Return the detail of an entry in the reader's language; typed text stays unchanged."""
    whole = _.code("note", reason)
    return whole if whole != reason else ", ".join(_part(_, part) for part in reason.split(", "))


def _part(_: Translations, part: str) -> str:
    """Return one part of a detail: a code, a number of things, or a word with a value after it."""
    number, _space, rest = part.partition(" ")
    if number.isdecimal() and rest:
        text = _.code("note.n", rest, n=int(number))
        return part if text == rest else text
    for label in LABELS:
        if part.startswith(f"{label} "):
            return _(f"note.of.{label}", value=_.code("note", part.removeprefix(f"{label} ")))
    known = _.code("note", part)
    return _.code("role", part) if known == part else known
