"""The steps of one request: choose its calls, make and fetch the report, ask for erasure, close it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from starlette.responses import Response

from admin_api.exports import exports
from admin_api.http.permissions import Action
from admin_api.http.types import Page
from admin_api.page.framework.date_ranges import midnight
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.page.views import requests
from admin_api.privacy import subject_requests
from admin_api.privacy.request_views import Candidate

BATCH = 1000
"""Candidates fetched at once to build a selection."""
PERSON = "person-"
"""Prefix of the fields for which party of a call is the person; the call's id follows."""
PASSPHRASE_BYTES = 15
"""120 bits, as six groups of four letters and digits: unguessable, and easy to read out on the telephone."""


@view("POST", "/requests/{id}/selection", Action.REQUEST_SELECT, form=requests.one.show)
async def select(request: PageRequest, id: str) -> str:
    """Confirm which candidates concern the person; candidates on other pages stay unchanged."""
    found = await _candidates(request, id)
    asked, ticked = set(request.form.get("shown", [])), set(request.form.get("in", []))
    said = {name.removeprefix(PERSON): texts[0] for name, texts in request.form.items() if name.startswith(PERSON)}
    body = _selection(found, asked, ticked, said, sure=request.one("act") == "sure")
    await subject_requests.select.ask(request.caller(), id, body=body)
    return f"/requests/{id}#report"


@view("POST", "/requests/{id}/extension", Action.REQUEST_EXTEND, form=requests.one.show)
async def extend(request: PageRequest, id: str) -> str:
    """Extend the time limit."""
    body = {
        "months": int(request.one("months")) if request.one("months") in ("1", "2") else None,
        "ground": request.one("ground"),
        "told_at": midnight(request.one("told_at")),
        "reason": request.one("reason"),
    }
    await subject_requests.extend.ask(request.caller(), id, body=body)
    return f"/requests/{id}"


@view("POST", "/requests/{id}/report", Action.REQUEST_REPORT, form=requests.one.show)
async def report(request: PageRequest, id: str) -> Response | str:
    """Have the report made; a generated passphrase is shown once, in the answer to the form."""
    seal = request.one("seal")
    passphrase = _passphrase() if seal == "passphrase" else None
    body = {
        "media": request.one("media") or None,
        "silence_others": bool(request.one("silence_others")),
        "other_parties": bool(request.one("other_parties")),
        "recipient": request.one("recipient").strip() or None if seal == "recipient" else None,
        "passphrase": passphrase,
    }
    await subject_requests.report.ask(request.caller(), id, body=body)
    onward = f"/requests/{id}#report"
    return request.secret("request_passphrase.html", onward, id=id, passphrase=passphrase) if passphrase else onward


@view("POST", "/requests/{id}/report/cancel", Action.REQUEST_REPORT, form=requests.one.show)
async def cancel(request: PageRequest, id: str) -> str:
    """Cancel the report."""
    made = (await subject_requests.view(request.caller(), id))["report"]
    if made is not None:
        await exports.cancel(request.caller(), made["id"])
    return f"/requests/{id}#report"


@view("GET", "/requests/{id}/report/file", Action.REQUEST_REPORT_FILE)
async def file(request: PageRequest, id: str) -> Response:
    """Answer with the report."""
    return await subject_requests.report_file(request.caller(), id)


@view("POST", "/requests/{id}/erasure", Action.REQUEST_ERASE, form=requests.one.show)
async def erase(request: PageRequest, id: str) -> str:
    """Ask for the erasure of the chosen calls; browsers do not send the form unless the box is ticked."""
    if request.one("understood"):
        await subject_requests.erase.ask(request.caller(), id, body={"reason": request.one("reason")})
    return f"/requests/{id}#erasure"


@view("POST", "/requests/{id}/close", Action.REQUEST_CLOSE, form=requests.one.show)
async def close(request: PageRequest, id: str) -> str:
    """Close the request."""
    outcome = request.one("outcome")
    body = {"outcome": outcome, "ground": request.one("ground") or None if outcome == "refused" else None}
    await subject_requests.close.ask(request.caller(), id, body=body)
    return f"/requests/{id}"


async def _candidates(request: PageRequest, id: str) -> list[Candidate]:
    """Return all candidates."""
    query = Page(limit=BATCH)
    found: list[Candidate] = []
    while True:
        page = await subject_requests.candidates(request.caller(), id, query=query)
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        query = Page(limit=BATCH, cursor=page["next_cursor"])


def _selection(
    found: Collection[Candidate],
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

    def inside(each: Candidate) -> bool | None:
        if sure:
            return bool(each["sure"])
        if each["call"] in asked:
            return each["call"] in ticked
        return None if each["selected"] is None else each["selected"] == "in"

    judged = [(each, inside(each)) for each in found]
    chosen = [_with_person(each, said.get(each["call"], "")) for each, yes in judged if yes]
    return {"in": chosen, "out": [each["call"] for each, yes in judged if yes is False]}


def _with_person(each: Candidate, said: str) -> Any:
    """Return a call for the selection: its id, with the person's party if it was stated now or before."""
    if not each["choose"]:
        return each["call"]
    parties = [party["index"] for party in each["parties"] if str(party["index"]) == said] or each["chosen"]
    return {"call": each["call"], "parties": parties} if parties else each["call"]


def _passphrase() -> str:
    text = base64.b32encode(secrets.token_bytes(PASSPHRASE_BYTES)).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))
