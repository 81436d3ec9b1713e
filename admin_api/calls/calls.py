"""Calls: search them, view one, pause and resume a live one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, TypedDict

import msgspec
from msgspec import Meta

from admin_api.calls import call_views
from admin_api.calls.call_views import Call, CallPage, Recording
from admin_api.calls.selection import RIGHT_PARTY
from admin_api.calls.selection import search as search_by
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import ADMIN, PRIVACY, SEEKERS, Action
from admin_api.http.problems import Problem, conflict, not_found, unavailable
from admin_api.http.types import MAX_PARTY, MAX_SOURCE, Cursor, Given, Limit, Since, Until, line, party, right, text
from personal import Personal
from storage.calls.call_document import CallDocument
from storage.calls.call_index import CallRow, Page, Query
from storage.calls.call_row import DEFAULT_LIMIT, CallState, Direction
from storage.ids import is_id

if TYPE_CHECKING:
    from storage.nodes.present import Present

SAME_CALL = timedelta(days=1)
"""Longest time between the starts of recordings of one call, which may be transferred within a working day."""
MOST_RECORDINGS = 50
"""Maximum number of listed recordings of one call."""
OVER = "The call is not in a state that allows it"

_Party = Annotated[str, text(MAX_PARTY, "+49 30 1234567", party), RIGHT_PARTY]
_State = Annotated[CallState, Meta(description="recording, complete or interrupted", examples=["complete"])]
_Hold = Annotated[bool, Meta(description="true or false", examples=["true"])]
_Direction = Annotated[Direction, Meta(description="inbound, outbound or internal", examples=["inbound"])]
_RIGHT_SOURCE = Message("reason.source", "must be an address as calls show it, at most {most} characters")
_Source = Annotated[str, text(MAX_SOURCE, "192.0.2.10", line), right(_RIGHT_SOURCE.of(most=MAX_SOURCE))]


class Search(Given):
    """The query of a search."""

    party: _Party | None = None
    since: Since | None = None
    until: Until | None = None
    state: _State | None = None
    hold: _Hold | None = None
    direction: _Direction | None = None
    source: _Source | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


class Paused(TypedDict):
    """Whether the recording of a call is paused."""

    id: str
    paused: bool


@endpoint("GET", "/calls", Action.SEARCH, SEEKERS)
async def search(request: AuthorisedRequest, query: Search) -> CallPage:
    """Search calls, newest first.

    The audit log does not record the query.
    """
    wanted = replace(search_by(msgspec.structs.asdict(query)), each_once=request.customer.place.several)
    lacking = request.daemon.lacking(request.customer.name)  # a rebuild may end during the search and leave gaps here
    found = await _found(request, wanted)
    live = await request.daemon.documents(request.customer.name, [row.id for row in found.items])
    nodes = await _nodes(request)
    rows = [(await _newest(request, row, live.get(row.id)), live.get(row.id)) for row in found.items]
    shown = [call_views.call(row, document, nodes) for row, document in rows]
    page: CallPage = {"items": shown, "next_cursor": found.next_cursor}
    return {**page, "incomplete": True} if lacking else page


@endpoint("GET", "/calls/{id}", Action.VIEW, SEEKERS)
async def view(request: AuthorisedRequest, id: str) -> Call:
    """Everything known about a call."""
    row, live = await find(request, measured=True)
    shown = call_views.call(row, live, await _nodes(request))
    customer = request.customer
    if row.hold and (hold := await customer.holds.get(id)):
        shown = {**shown, **call_views.hold(hold, whole=request.principal.role(PRIVACY) is not None)}
    shown["annotations"] = [call_views.annotation(note) for note in await customer.annotations.of(id)]
    shown["attachments"] = [call_views.attachment(one) for one in await customer.attachments.of(id)]
    shown["recordings"] = await _recordings(request, shown)
    return shown


async def _recordings(request: AuthorisedRequest, shown: Call) -> list[Recording]:
    """Return the other recordings of the same call, by shared identifiers, and how certain each match is.

    Those that other nodes made of the same communication session come first.
    """
    session = str(shown.get("session_id") or "")
    of_nodes = await request.customer.calls.others(request.object) if request.customer.place.several else ()
    of_session: list[Recording] = [{"id": id, "key": session, "sure": "stated"} for id in of_nodes]
    return of_session + [each for each in await _related(request, shown) if each["id"] not in of_nodes]


async def _related(request: AuthorisedRequest, shown: Call) -> list[Recording]:
    names = {Personal(name["key"]): name["sure"] for name in shown.get("related", ())}
    began = shown.get("started_at")
    if not names or began is None:
        return []
    around = datetime.fromisoformat(began)
    query = Query(related=tuple(names), since=around - SAME_CALL, until=around + SAME_CALL, limit=MOST_RECORDINGS)
    found: list[Recording] = []
    for row in (await _found(request, query)).items:
        theirs = [name["key"] for name in row.details.get("related", ())]
        shared = next((key for key in names if key in theirs), None)
        if row.id != request.object and shared is not None:
            found.append({"id": row.id, "key": shared.reveal(), "sure": names[shared]})
    return found


@endpoint("POST", "/calls/{id}/pause", Action.PAUSE, ADMIN, conflict=OVER)
async def pause(request: AuthorisedRequest, id: str) -> Paused:
    """Pause the recording of a live call.

    It protects a person, so it takes effect before the disk answers.
    """
    row, live = await find(request)
    if not live or not request.daemon.pause(request.customer.name, id):
        raise await _over(request, row)
    return {"id": id, "paused": True}


@endpoint("POST", "/calls/{id}/resume", Action.RESUME, ADMIN, conflict=OVER)
async def resume(request: AuthorisedRequest, id: str) -> Paused:
    """Resume the recording of a live call.

    It is logged first.
    """
    row, live = await find(request)
    if live:
        await request.note(DONE)
    if not live or not request.daemon.resume(request.customer.name, id):
        raise await _over(request, row)
    return {"id": id, "paused": False}


async def _nodes(request: AuthorisedRequest) -> Mapping[int, Present] | None:
    """Return the nodes that share the database, None if this one is alone."""
    nodes = request.customer.nodes
    return None if nodes is None else await nodes.all()


def _is_elsewhere(request: AuthorisedRequest, row: CallRow) -> bool:
    """Return whether another node is recording a call."""
    return request.customer.several and row.state is CallState.RECORDING and row.node != request.customer.keys.node


async def _over(request: AuthorisedRequest, row: CallRow) -> Problem:
    if _is_elsewhere(request, row):
        there = Message("problem.call-live-elsewhere", "The call is live on node {node}; ask there.")
        return conflict(there.of(node=await request.node_name(row.node)), "live on another node")
    over = Message("problem.call-over", "The call is over; only a live call can be paused and resumed.")
    return conflict(over, "the call is over")


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
    raise not_found("not found")


async def _newest(request: AuthorisedRequest, row: CallRow, live: CallDocument | None) -> CallRow:
    """Return the row that was read, or the current one if a live call ended in the meantime."""
    if live is None and row.state is CallState.RECORDING and not _is_elsewhere(request, row):
        return await request.customer.calls.get(row.id) or row
    return row


async def settled(request: AuthorisedRequest) -> None:
    """Make sure a call is in the index before something is attached to it; a live call may not be there yet.

    Raises Problem 404, or 503 if the index cannot take it now.
    """
    await find(request)
    unknown = await request.customer.calls.get(request.object) is None
    if unknown and not await request.daemon.settle(request.customer.name, request.object):
        early = Message("problem.call-not-in-the-index", "The call is not in the index yet.")
        raise unavailable(early, "not in the index yet")
