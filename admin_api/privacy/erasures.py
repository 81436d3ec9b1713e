"""Request an erasure (Art. 17), show its state, approve another person's request.

The audit entry is written inside the transaction that files or approves: if it fails, nothing happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from admin_api.calls import selection
from admin_api.http import body_reader, json_body, query_parameters, responses
from admin_api.http.authorised_request import DONE, REFUSED, AuthorisedRequest
from admin_api.http.permissions import is_id
from admin_api.http.problems import Problem, conflict, own_request
from storage.calls.call_row import Query
from storage.cursors import BadCursor
from storage.erasure.erasure_rows import Erasure, State
from storage.erasure.erasures import Held, NoErasure, NoWaiver, OwnRequest
from storage.keys.sealing import MAX_TEXT
from storage.timestamps import rfc3339

WAYS = ("calls", "party", "query")
LISTED = (query_parameters.ERASURES, query_parameters.LIMIT, query_parameters.CURSOR)
_NO_WAIVER = "Immediate erasure needs an active waiver. Put one on file with PUT /waiver, then ask again."


@dataclass(frozen=True, slots=True)
class Wanted:
    """The calls to erase: exactly one of calls, party and query is given."""

    calls: tuple[str, ...] | None
    """Ids of calls."""
    party: str | None = field(repr=False)
    """All calls of one person."""
    query: Query | None
    """All calls that a search finds."""
    reason: str = field(repr=False)
    """Why."""

    @property
    def told(self) -> str:
        """Return the audit text: what is asked for, but not about whom."""
        if self.query is not None:
            return "query"
        return "party" if self.calls is None else f"{len(self.calls)} calls"


async def create(request: AuthorisedRequest) -> Response:
    """Answer POST /erasures; the request is durable when the answer is sent; after a 409, nothing was filed."""
    wanted = await body_reader.given(request, read)
    if wanted.calls is None:
        await request.settle_all()

    async def told(id: str) -> None:
        await request.note(DONE, wanted.told, id)

    try:
        erasure = await request.customer.erasures.file(
            calls=wanted.calls,
            party=wanted.party,
            query=wanted.query,
            reason=wanted.reason,
            by=request.principal.name,
            identity=request.principal.actor.identity,
            approval=request.customer.settings.approval,
            told=told,
        )
    except (NoWaiver, Held) as problem:
        raise await refusal(request, problem) from None
    return responses.document(shown(erasure), 202)


async def listed(request: AuthorisedRequest) -> Response:
    """Answer GET /erasures: open ones, oldest first; or finished ones, newest first, in pages."""
    given = request.parameters(LISTED)
    state = given["state"]
    if state is State.DONE:
        found, more = await _done(request, given["limit"], given["cursor"])
    else:
        every, more = await request.customer.erasures.open(), None
        found = [erasure for erasure in every if state in (None, erasure.state)]
    await request.note(DONE)
    return responses.page([shown(erasure) for erasure in found], more)


async def _done(request: AuthorisedRequest, limit: int, cursor: str | None) -> tuple[Sequence[Erasure], str | None]:
    """Return a page of finished erasures; raises Problem 422."""
    try:
        return await request.customer.erasures.done(limit, cursor)
    except BadCursor:
        raise query_parameters.bad_cursor() from None


async def view(request: AuthorisedRequest) -> Response:
    """Answer GET /erasures/{id}."""
    request.no_parameters()
    erasure = await request.find(request.customer.erasures.get)
    by, identity = request.principal.name, request.principal.actor.identity
    own = await request.customer.erasures.own(request.object, by=by, identity=identity)
    await request.note(DONE)
    return responses.document({**shown(erasure), "own": own})


async def approve(request: AuthorisedRequest) -> Response:
    """Answer POST /erasures/{id}/approve; an erasure that no longer needs approval stays unchanged."""
    request.no_parameters()
    await json_body.empty_body(request.http)

    async def told(id: str) -> None:
        await request.note(DONE, object=id)

    try:
        if not is_id(request.object):
            raise NoErasure("there is no such erasure")
        erasure = await request.customer.erasures.approve(
            request.object,
            by=request.principal.name,
            identity=request.principal.actor.identity,
            told=told,
            settled=request.settle_all,
        )
    except NoErasure:
        raise await request.missing() from None
    except OwnRequest:
        await request.note(REFUSED, "own request")
        raise own_request() from None
    except NoWaiver:
        await request.note(REFUSED, "no active waiver")
        raise conflict(_NO_WAIVER) from None
    return responses.document(shown(erasure))


async def refusal(request: AuthorisedRequest, problem: NoWaiver | Held) -> Problem:
    """Return the Problem that says why nothing was filed."""
    if isinstance(problem, NoWaiver):
        await request.note(REFUSED, "no active waiver")
        return conflict(_NO_WAIVER)
    await request.note(REFUSED, f"{len(problem.ids)} calls are under legal hold")
    said = f"{len(problem.ids)} of these calls are under legal hold, so nothing is erased."
    return conflict(f"{said} Release them first, or leave them out; `hold` of a call says whether it is held.")


def read(data: bytes) -> Wanted:
    """Read the body of POST /erasures; raises Problem 422."""
    body = body_reader.parse(data, (*WAYS, "reason"))
    reason, calls, party, query = body.text("reason", MAX_TEXT), body.raw("calls"), body.raw("party"), None
    if sum(way in body for way in WAYS) != 1:
        body.wrong("calls", "exactly one of calls, party and query must be given")
    elif "party" in body:
        party = body.text("party", query_parameters.MAX_PARTY)
    elif "query" in body:
        query, faults = selection.conditions(body.raw("query"))
        body.include(faults)
    elif not isinstance(calls, list) or not calls or not all(isinstance(each, str) for each in calls):
        body.wrong("calls", "must be a list of ids of calls")
    body.done()
    return Wanted(None if calls is None else tuple(dict.fromkeys(calls)), party, query, reason)


def shown(erasure: Erasure) -> dict[str, Any]:
    """Show an erasure without party and reason."""
    return {
        "id": erasure.id,
        "state": erasure.state.value,
        "cause": erasure.cause,
        "rule": erasure.rule,
        "requested_at": rfc3339(erasure.requested_at),
        "requested_by": erasure.requested_by,
        "approved_at": rfc3339(erasure.approved_at),
        "approved_by": erasure.approved_by,
        "done_at": rfc3339(erasure.done_at),
        "calls": erasure.calls,
        "receipt": erasure.receipt,
    }
