"""The audit log: who did what, newest first."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.page.acts import ACTS, NOTES, OUTCOMES
from admin_api.page.views import View
from admin_api.page.visit import Visit
from admin_api.page.words import Words
from admin_api.roles import Action

PAGE = 100
"""Entries of one page."""


async def listed(visit: Visit) -> Response:
    """Show one page of entries."""
    asked = visit.request.query_params
    since = asked.get("since", "")
    query = {"since": f"{since}T00:00:00Z" if since else None, "cursor": asked.get("cursor"), "limit": PAGE}
    answer = await visit.api.get("/audit", query)
    return visit.listed(
        "audit.html",
        answer,
        since=since,
        acts=ACTS,
        outcomes=OUTCOMES,
        said=lambda reason: said(visit.words, reason),
    )


def said(words: Words, reason: str) -> str:
    """Return what the log says beside an act in the reader's language; what somebody typed stays as it is."""
    if reason in NOTES:
        return words(NOTES[reason])
    return ", ".join(words.told(NOTES.get(part, part)) for part in reason.split(", "))


VIEWS = (View("GET", "/audit", listed, Action.AUDIT, menu="Audit"),)
