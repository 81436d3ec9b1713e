"""The steps of one request: choose its calls, make and fetch the report, ask for erasure, close it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import PageRequest, View
from admin_api.page.views.requests import shown

BATCH = 1000
"""Candidates fetched at once to build a selection."""
PERSON = "person-"
"""Prefix of the fields that say which party of a call is the person; the call's id follows."""
PASSPHRASE_BYTES = 15
"""120 bits, as six groups of four letters and digits: unguessable, and easy to read out on the telephone."""


async def select(request: PageRequest) -> Response:
    """Confirm which candidates concern the person; candidates on other pages stay unchanged."""
    id = request.path_id
    found = await _candidates(request, id)
    if isinstance(found, Answer):
        return await shown(request, found)
    asked, ticked = set(request.form.get("shown", [])), set(request.form.get("in", []))
    said = {name.removeprefix(PERSON): texts[0] for name, texts in request.form.items() if name.startswith(PERSON)}
    body = _selection(found, asked, ticked, said, sure=request.one("act") == "sure")
    answer = await request.api.send("PUT", f"/requests/{id}/selection", body)
    return await request.after(answer, f"/requests/{id}#report", shown)


async def extend(request: PageRequest) -> Response:
    """Extend the time limit."""
    id = request.path_id
    day = request.one("told_at")
    body = {
        "months": int(request.one("months")) if request.one("months") in ("1", "2") else None,
        "ground": request.one("ground"),
        "told_at": f"{day}T00:00:00Z" if day else None,
        "reason": request.one("reason"),
    }
    answer = await request.api.send("PUT", f"/requests/{id}/extension", body)
    return await request.after(answer, f"/requests/{id}", shown)


async def report(request: PageRequest) -> Response:
    """Have the report made; a generated passphrase is shown once, in the answer to the form."""
    id = request.path_id
    seal = request.one("seal")
    passphrase = _passphrase() if seal == "passphrase" else None
    body = {
        "media": request.one("media") or None,
        "silence_others": bool(request.one("silence_others")),
        "other_parties": bool(request.one("other_parties")),
        "recipient": request.one("recipient").strip() or None if seal == "recipient" else None,
        "passphrase": passphrase,
    }
    answer = await request.api.send("POST", f"/requests/{id}/report", body)
    if not answer.well:
        return await shown(request, answer)
    if passphrase is not None:
        return request.secret("request_passphrase.html", f"/requests/{id}#report", id=id, passphrase=passphrase)
    return request.moved(f"/requests/{id}#report")


async def cancel(request: PageRequest) -> Response:
    """Cancel the report."""
    id = request.path_id
    case = await request.api.get(f"/requests/{id}")
    made = case.document.get("report") if case.well else None
    answer = case if made is None else await request.api.send("DELETE", f"/exports/{made['id']}")
    return await request.after(answer, f"/requests/{id}#report", shown)


async def file(request: PageRequest) -> Response:
    """Answer with the report."""
    return await request.api.stream(f"/requests/{request.path_id}/report/file")


async def erase(request: PageRequest) -> Response:
    """Ask for the erasure of the chosen calls."""
    id = request.path_id
    if not request.one("understood"):
        return request.moved(f"/requests/{id}#erasure")  # browsers do not send the form unless the box is ticked
    answer = await request.api.send("POST", f"/requests/{id}/erasure", {"reason": request.one("reason")})
    return await request.after(answer, f"/requests/{id}#erasure", shown)


async def close(request: PageRequest) -> Response:
    """Close the request."""
    id = request.path_id
    outcome = request.one("outcome")
    body = {"outcome": outcome, "ground": request.one("ground") or None if outcome == "refused" else None}
    answer = await request.api.send("POST", f"/requests/{id}/close", body)
    return await request.after(answer, f"/requests/{id}", shown)


async def _candidates(request: PageRequest, id: str) -> list[Mapping[str, Any]] | Answer:
    """Return all candidates, or the API's refusal."""
    found: list[Mapping[str, Any]] = []
    cursor = None
    while True:
        answer = await request.api.get(f"/requests/{id}/candidates", {"limit": BATCH, "cursor": cursor})
        if not answer.well:
            return answer
        found += answer.items
        cursor = answer.next_cursor
        if cursor is None:
            return found


def _selection(
    found: Collection[Mapping[str, Any]],
    asked: Collection[str],
    ticked: Collection[str],
    said: Mapping[str, str],
    *,
    sure: bool,
) -> dict[str, list[Any]]:
    """Build a whole selection: candidates on the page as ticked, all others as before.

    `said` names the party that is the person in calls where several may be. `sure` selects all candidates without
    doubt, and leaves out the others.
    """

    def inside(each: Mapping[str, Any]) -> bool | None:
        if sure:
            return bool(each["sure"])
        if each["call"] in asked:
            return each["call"] in ticked
        return None if each["selected"] is None else each["selected"] == "in"

    judged = [(each, inside(each)) for each in found]
    chosen = [_with_person(each, said.get(str(each["call"]), "")) for each, yes in judged if yes]
    return {"in": chosen, "out": [each["call"] for each, yes in judged if yes is False]}


def _with_person(each: Mapping[str, Any], said: str) -> Any:
    """Return a call for the selection: its id, with the person's party if it was stated now or before."""
    if not each["choose"]:
        return each["call"]
    parties = [party["index"] for party in each["parties"] if str(party["index"]) == said] or each["chosen"]
    return {"call": each["call"], "parties": parties} if parties else each["call"]


def _passphrase() -> str:
    text = base64.b32encode(secrets.token_bytes(PASSPHRASE_BYTES)).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


VIEWS = (
    View("POST", "/requests/{id}/selection", select, Action.REQUEST_SELECT),
    View("POST", "/requests/{id}/extension", extend, Action.REQUEST_EXTEND),
    View("POST", "/requests/{id}/report", report, Action.REQUEST_REPORT),
    View("POST", "/requests/{id}/report/cancel", cancel, Action.REQUEST_REPORT),
    View("GET", "/requests/{id}/report/file", file, Action.REQUEST_REPORT_FILE),
    View("POST", "/requests/{id}/erasure", erase, Action.REQUEST_ERASE),
    View("POST", "/requests/{id}/close", close, Action.REQUEST_CLOSE),
)
