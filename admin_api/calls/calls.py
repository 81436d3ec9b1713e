"""Search calls, view one, pause and resume a live one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from admin_api.calls import call_views
from admin_api.http import json_body, query_parameters, responses
from admin_api.http.authorised_request import DONE, FAILED, AuthorisedRequest
from admin_api.http.permissions import HOLDERS, Action, is_id
from admin_api.http.problems import conflict, unavailable
from personal import Personal
from storage.calls.call_document import CallDocument, PlainDocument
from storage.calls.call_index import CallRow, Page, Query
from storage.calls.call_row import CallState
from storage.cursors import BadCursor

SAME_CALL = timedelta(days=1)
"""How far apart recordings of one call may begin: a call may be transferred within a working day."""
MOST_RECORDINGS = 50
"""Most recordings of one call that are listed."""
CONDITIONS = (
    *(query_parameters.PARTY, query_parameters.SINCE, query_parameters.UNTIL, query_parameters.STATE),
    *(query_parameters.HOLD, query_parameters.DIRECTION, query_parameters.SOURCE),
)
SEARCH = (*CONDITIONS, query_parameters.LIMIT, query_parameters.CURSOR)


async def search(request: AuthorisedRequest) -> Response:
    """Answer GET /calls: a page, newest first; the audit log does not record the query."""
    query = Query(**request.parameters(SEARCH))
    lacking = request.daemon.lacking(request.customer.name)  # a rebuild may end during the search and leave gaps here
    try:
        found = await _found(request, query)
    except BadCursor:
        raise query_parameters.bad_cursor() from None
    live = await request.daemon.documents(request.customer.name, [row.id for row in found.items])
    items = [call_views.call(await _newest(request, row, live.get(row.id)), live.get(row.id)) for row in found.items]
    await request.note(DONE)
    return responses.page(items, found.next_cursor, incomplete=lacking)


async def view(request: AuthorisedRequest) -> Response:
    """Answer GET /calls/{id}."""
    request.no_parameters()
    row, live = await find(request, measured=True)
    shown = call_views.call(row, live)
    beside = await _beside(request, held=row.hold)
    beside["recordings"] = await _recordings(request, shown)
    await request.note(DONE)
    return responses.document({**shown, **beside})


async def _recordings(request: AuthorisedRequest, shown: PlainDocument) -> list[dict[str, Any]]:
    """Return the other recordings of the same call, by shared identifiers, and how certain each match is."""
    names = {Personal(name["key"]): name["sure"] for name in shown.get("related", ())}
    began = shown.get("started_at")
    if not names or began is None:
        return []
    around = datetime.fromisoformat(began)
    query = Query(related=tuple(names), since=around - SAME_CALL, until=around + SAME_CALL, limit=MOST_RECORDINGS)
    found = []
    for row in (await _found(request, query)).items:
        theirs = [name["key"] for name in row.details.get("related", ())]
        shared = next((key for key in names if key in theirs), None)
        if row.id != request.object and shared is not None:
            found.append({"id": row.id, "key": shared.reveal(), "sure": names[shared]})
    return found


async def switch(request: AuthorisedRequest) -> Response:
    """Answer POST /calls/{id}/pause and /resume.

    A pause protects a person, so it takes effect before the disk answers; a resume is logged first.
    """
    request.no_parameters()
    await json_body.empty_body(request.http)
    _, live = await find(request)
    pausing = request.action is Action.PAUSE
    if live and not pausing:
        await request.note(DONE)
    act = request.daemon.pause if pausing else request.daemon.resume
    if not live or not act(request.customer.name, request.object):
        await request.note(FAILED, "the call is over")
        raise conflict("The call is over; only a live call can be paused and resumed.")
    if pausing:
        await request.note(DONE)
    return responses.document({"id": request.object, "paused": pausing})


async def _found(request: AuthorisedRequest, query: Query) -> Page:
    """Return a page of calls, including those not in the index yet; raises BadCursor."""
    fresh = await request.daemon.unwritten(request.customer)
    return await request.customer.calls.find(query, fresh)


async def find(request: AuthorisedRequest, *, measured: bool = False) -> tuple[CallRow, CallDocument | None]:
    """Return the index row of a call, or the one it will get, and the daemon's data if it is live.

    `measured`: include current quality figures. Raises Problem 404 if the call does not exist.
    """
    if is_id(request.object):
        fresh = await request.daemon.unwritten(request.customer, request.object)
        row = await request.customer.calls.get(request.object)
        told = await request.daemon.documents(request.customer.name, [request.object], measured=measured)
        for made in filter(None, (each.made() for each in fresh)):
            row = replace(made[0], hold=row is not None and row.hold)
        if row is not None:
            live = told.get(request.object)
            return await _newest(request, row, live), live
    raise await request.missing()


async def _newest(request: AuthorisedRequest, row: CallRow, live: CallDocument | None) -> CallRow:
    """Return the row that was read, or the current one if a live call ended in the meantime."""
    if live is None and row.state is CallState.RECORDING:
        return await request.customer.calls.get(row.id) or row
    return row


async def settled(request: AuthorisedRequest) -> None:
    """Make sure a call is in the index before something is attached to it; a live call may not be there yet.

    Raises Problem 404, or 503 if the index cannot take it now.
    """
    await find(request)
    unknown = await request.customer.calls.get(request.object) is None
    if unknown and not await request.daemon.settle(request.customer.name, request.object):
        await request.note(FAILED, "not in the index yet")
        raise unavailable("The call is not in the index yet.")


async def _beside(request: AuthorisedRequest, *, held: bool) -> dict[str, Any]:
    """Return the corrections and attachments of a call."""
    customer, call = request.customer, request.object
    hold = await customer.holds.get(call) if held else None
    whole = request.principal.role(HOLDERS) is not None
    return {
        **(call_views.hold(hold, whole=whole) if hold else {}),
        "annotations": [call_views.annotation(note) for note in await customer.annotations.of(call)],
        "attachments": [call_views.attachment(one) for one in await customer.attachments.of(call)],
    }
