"""The steps of one request: choose its calls, have the report made and fetch it, go on into erasure, close it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from starlette.responses import Response

from admin_api.page.client import Answer
from admin_api.page.requests import shown, the_id
from admin_api.page.views import View
from admin_api.page.visit import Visit
from admin_api.roles import Action

BATCH = 1000
"""Candidates asked for at once when a selection is put together."""
PASSPHRASE_BYTES = 15
"""120 bits, as six groups of four letters and digits: nobody guesses it, and it can be read out on the telephone."""


async def select(visit: Visit) -> Response:
    """Confirm which candidates concern the person; those of other pages stay as they were."""
    id = the_id(visit)
    found = await _candidates(visit, id)
    if isinstance(found, Answer):
        return await shown(visit, found)
    asked, ticked = set(visit.form.get("shown", [])), set(visit.form.get("in", []))
    body = _selection(found, asked, ticked, sure=visit.one("act") == "sure")
    answer = await visit.api.send("PUT", f"/requests/{id}/selection", body)
    return visit.moved(f"/requests/{id}#report") if answer.well else await shown(visit, answer)


async def report(visit: Visit) -> Response:
    """Have the report made; a passphrase that we make is shown once, with the answer to the form."""
    id = the_id(visit)
    seal = visit.one("seal")
    passphrase = _passphrase() if seal == "passphrase" else None
    body = {
        "media": visit.one("media") or None,
        "silence_others": bool(visit.one("silence_others")),
        "other_parties": bool(visit.one("other_parties")),
        "recipient": visit.one("recipient").strip() or None if seal == "recipient" else None,
        "passphrase": passphrase,
    }
    answer = await visit.api.send("POST", f"/requests/{id}/report", body)
    if not answer.well:
        return await shown(visit, answer)
    if passphrase is not None:
        return visit.page("request_passphrase.html", id=id, passphrase=passphrase)
    return visit.moved(f"/requests/{id}#report")


async def cancel(visit: Visit) -> Response:
    """Stop making the report."""
    id = the_id(visit)
    case = await visit.api.get(f"/requests/{id}")
    made = case.document.get("report") if case.well else None
    answer = case if made is None else await visit.api.send("DELETE", f"/exports/{made['id']}")
    return visit.moved(f"/requests/{id}#report") if answer.well else await shown(visit, answer)


async def file(visit: Visit) -> Response:
    """Hand out the report."""
    return await visit.api.stream(f"/requests/{the_id(visit)}/report/file")


async def erase(visit: Visit) -> Response:
    """Ask for the erasure of the calls that were chosen."""
    id = the_id(visit)
    if not visit.one("understood"):
        return visit.moved(f"/requests/{id}#erasure")  # browsers do not send the form without the tick
    answer = await visit.api.send("POST", f"/requests/{id}/erasure", {"reason": visit.one("reason")})
    return visit.moved(f"/requests/{id}#erasure") if answer.well else await shown(visit, answer)


async def close(visit: Visit) -> Response:
    """End the request."""
    id = the_id(visit)
    outcome = visit.one("outcome")
    body = {"outcome": outcome, "ground": visit.one("ground") or None if outcome == "refused" else None}
    answer = await visit.api.send("POST", f"/requests/{id}/close", body)
    return visit.moved(f"/requests/{id}") if answer.well else await shown(visit, answer)


async def _candidates(visit: Visit, id: str) -> list[Mapping[str, Any]] | Answer:
    """Return all candidates, or what the API said no to."""
    found: list[Mapping[str, Any]] = []
    cursor = None
    while True:
        answer = await visit.api.get(f"/requests/{id}/candidates", {"limit": BATCH, "cursor": cursor})
        if not answer.well:
            return answer
        found += answer.items
        cursor = answer.next_cursor
        if cursor is None:
            return found


def _selection(
    found: Collection[Mapping[str, Any]], asked: Collection[str], ticked: Collection[str], *, sure: bool
) -> dict[str, list[str]]:
    """Put a whole selection together: what was on the page as it was ticked, everything else as it was.

    `sure` takes all candidates about which there is no doubt, and leaves out the others.
    """

    def inside(each: Mapping[str, Any]) -> bool | None:
        if sure:
            return bool(each["sure"])
        if each["call"] in asked:
            return each["call"] in ticked
        return None if each["selected"] is None else each["selected"] == "in"

    judged = [(str(each["call"]), inside(each)) for each in found]
    return {"in": [call for call, yes in judged if yes], "out": [call for call, yes in judged if yes is False]}


def _passphrase() -> str:
    text = base64.b32encode(secrets.token_bytes(PASSPHRASE_BYTES)).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


VIEWS = (
    View("POST", "/requests/{id}/selection", select, Action.REQUEST_SELECT),
    View("POST", "/requests/{id}/report", report, Action.REQUEST_REPORT),
    View("POST", "/requests/{id}/report/cancel", cancel, Action.REQUEST_REPORT),
    View("GET", "/requests/{id}/report/file", file, Action.REQUEST_REPORT_FILE),
    View("POST", "/requests/{id}/erasure", erase, Action.REQUEST_ERASE),
    View("POST", "/requests/{id}/close", close, Action.REQUEST_CLOSE),
)
