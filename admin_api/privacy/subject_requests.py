"""Data subject requests (Art. 15, 17, 20): file, find calls, confirm, report, erase, close."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated

from msgspec import Meta
from starlette.responses import Response

from admin_api.exports import exports
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import PRIVACY, Action
from admin_api.http.problems import conflict, invalid, not_found
from admin_api.http.types import AHEAD, NOT_LATER, Cursor, Given, Limit, Listed, Page, listed
from admin_api.privacy import erasures, request_views
from admin_api.privacy.erasures import Erasure
from admin_api.privacy.request_bodies import (
    NO_USER,
    CloseRequest,
    ExtensionRequest,
    ReportRequest,
    RequestErasureRequest,
    RequestRequest,
    SelectionRequest,
)
from admin_api.privacy.request_views import Report, Request
from storage.calls.call_row import DEFAULT_LIMIT, Position
from storage.exports.exports import ExportState
from storage.subject_requests.candidates import Candidate
from storage.subject_requests.case_rows import Case, Extension, Kind, Selection, State, Step, due
from storage.subject_requests.cases import WrongState

AGE = "application/octet-stream"
CONTENT_TYPES = (exports.ZIP, AGE)
ZONES = timedelta(hours=14)  # no zone is further from UTC; this close to midnight, the day depends on the zone
_WRONG_STATE = "The state of the request does not allow it"
_ANY = ReportRequest()
_State = Annotated[State, Meta(description=f"one of {', '.join(State)}", examples=["open"])]


class RequestQuery(Given):
    """The query of a list of requests."""

    state: _State | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


@endpoint("POST", "/requests", Action.REQUEST, PRIVACY, status=201)
async def create(request: AuthorisedRequest, body: RequestRequest) -> Request:
    """File the request of somebody who was recorded."""
    now = request.customer.now()
    received = body.received_at or now
    if received > now + AHEAD:
        raise invalid([("received_at", NOT_LATER)])
    if body.user is not None and await request.customer.users.get(body.user) is None:
        raise invalid([("user", NO_USER)])
    told = partial(request.note, DONE, ", ".join(body.kinds))
    case = await request.customer.requests.file(
        body.kinds, body.asked, received_at=received, by=request.principal.name, told=told
    )
    return await _shown(request, case)


@endpoint("GET", "/requests", Action.REQUESTS, PRIVACY)
async def list_requests(request: AuthorisedRequest, query: RequestQuery) -> Listed[Request]:
    """Requests, newest first."""
    found, more = await request.customer.requests.listed(query.limit, query.cursor, query.state)
    return listed([await _shown(request, case) for case in found], more)


@endpoint("GET", "/requests/{id}", Action.REQUEST_STATE, PRIVACY)
async def view(request: AuthorisedRequest, id: str) -> Request:
    """A request."""
    return await _shown(request, await _find(request))


@endpoint(
    "GET",
    "/requests/{id}/candidates",
    Action.REQUEST_CANDIDATES,
    PRIVACY,
    conflict="The request is over, or too many calls match for the identities to mean one person",
)
async def candidates(request: AuthorisedRequest, id: str, query: Page) -> Listed[request_views.Candidate]:
    """Calls that may concern the person, newest first, each with the reason."""
    after = Position.parse(query.cursor) if query.cursor else None
    case = await _find(request)
    found = await _candidates(request, case)
    await request.note(DONE, f"{len(found)} calls")
    rest = [each for each in found if after is None or Position.of(each.row) < after]
    page = rest[: query.limit]
    more = str(Position.of(page[-1].row)) if len(rest) > len(page) else None
    return listed([request_views.candidate(each, case) for each in page], more)


@endpoint("PUT", "/requests/{id}/selection", Action.REQUEST_SELECT, PRIVACY, conflict=_WRONG_STATE)
async def select(request: AuthorisedRequest, id: str, body: SelectionRequest) -> Request:
    """Confirm which calls concern the person; replaces the selection before."""
    chosen = body.chosen
    outside = tuple(dict.fromkeys(body.outside))
    case = await _find(request)
    known = {each.row.id: each for each in await _candidates(request, case)}
    for name, ids in (("in", tuple(chosen)), ("out", outside)):
        if odd := sum(each not in known for each in ids):
            strange = Message("reason.no-candidates", "{n} of these calls are not candidates of this request")
            raise invalid([(name, strange.of(n=odd))])
    for call, parties in chosen.items():
        if parties is not None and not set(parties) <= {match.party for match in known[call].matches}:
            raise invalid([("in", Message("reason.parties", "parties must be numbers of parties that match"))])
    before = case.selection.inside
    inside = {
        call: parties if parties is not None else known[call].parties or before.get(call, ())
        for call, parties in chosen.items()
    }
    told = partial(request.note, DONE, f"{len(inside)} calls in, {len(outside)} out")
    case = await request.customer.requests.select(case.id, Selection(inside, outside), told=told)
    return await _shown(request, case)


@endpoint("PUT", "/requests/{id}/extension", Action.REQUEST_EXTEND, PRIVACY, conflict="The request is over")
async def extend(request: AuthorisedRequest, id: str, body: ExtensionRequest) -> Request:
    """Extend the time limit by up to two months; the person was told why."""
    now = request.customer.now()
    wanted = Extension(body.months, body.ground, body.told_at or now, body.reason)
    case = await _find(request)
    if not in_time(wanted.told_at, case.received_at, now):
        late = Message("reason.told-in-time", "must be in the month after the letter arrived, and not in the future")
        raise invalid([("told_at", late)])
    told = partial(request.note, DONE, f"{wanted.months} months, {wanted.ground}")
    case = await request.customer.requests.extend(case.id, wanted, by=request.principal.name, told=told)
    return await _shown(request, case)


@endpoint("POST", "/requests/{id}/report", Action.REQUEST_REPORT, PRIVACY, status=202, conflict=_WRONG_STATE)
async def report(request: AuthorisedRequest, id: str, body: ReportRequest = _ANY) -> Report:
    """Make the report of a request."""
    wanted = body.wanted
    case = await _find(request)
    media = f", media {wanted.media}" if wanted.media else ""
    others = ", other parties" if wanted.other_parties else ""
    silence = ", others silenced" if wanted.silence_others else ""
    told = partial(request.note, DONE, f"{len(case.selection.inside)} calls{media}{others}{silence}")
    case, export = await request.customer.requests.report(case.id, wanted, by=request.principal.name, told=told)
    return request_views.report(case.reports[-1], export, None)


@endpoint("GET", "/requests/{id}/report", Action.REQUEST_REPORT_STATE, PRIVACY)
async def report_state(request: AuthorisedRequest, id: str) -> Report:
    """State of the newest report of a request."""
    shown = await _report(request, await _find(request))
    if shown is None:
        raise not_found("no report")
    return shown


@endpoint(
    "GET",
    "/requests/{id}/report/file",
    Action.REQUEST_REPORT_FILE,
    PRIVACY,
    files=CONTENT_TYPES,
    conflict="The report is not done yet",
)
async def report_file(request: AuthorisedRequest, id: str) -> Response:
    """The report of a request: a zip, encrypted with age if that was asked for.

    The request records who fetched it.
    """
    case = await _find(request)
    export = await request.customer.exports.get(case.export) if case.export else None
    if export is not None and export.state is ExportState.RUNNING:
        early = Message("problem.report-not-finished", "The report is not finished yet; its state shows when it is.")
        raise conflict(early, "not done yet")
    if export is None or export.state is not ExportState.DONE:
        raise not_found("no file")
    await exports.expect_here(request, export)
    await request.note(DONE)
    if request.http.method == "GET":
        await request.customer.requests.fetched(case.id, export.id, by=request.principal.name)
    encrypted = export.request is not None and case.reports[-1]["encrypted"]
    kind, suffix = (AGE, ".zip.age") if encrypted else (exports.ZIP, ".zip")
    return exports.sent(request, export, kind, f"report-{case.id}{suffix}")


@endpoint(
    "POST",
    "/requests/{id}/erasure",
    Action.REQUEST_ERASE,
    PRIVACY,
    status=202,
    conflict="The state of the request does not allow it, no call is selected, or as POST /erasures",
)
async def erase(request: AuthorisedRequest, id: str, body: RequestErasureRequest) -> Erasure:
    """Ask for the erasure of the confirmed calls.

    The rules of POST /erasures hold.
    """
    case = await _find(request)

    async def told(id: str) -> None:
        await request.note(DONE, f"{len(case.selection.inside)} calls, erasure {id}")

    erasure = await request.customer.requests.erase(
        case.id,
        reason=body.reason,
        by=request.principal.name,
        identity=request.principal.actor.identity,
        approval=request.customer.settings.approval,
        told=told,
    )
    return erasures.shown(erasure)


@endpoint(
    "POST",
    "/requests/{id}/close",
    Action.REQUEST_CLOSE,
    PRIVACY,
    conflict="The state of the request does not allow it, or its erasure is not done",
)
async def close(request: AuthorisedRequest, id: str, body: CloseRequest) -> Request:
    """Close a request: the person's details are erased, a signed record of what was done remains."""
    outcome = Step(body.outcome)
    case = await _find(request)
    if outcome is Step.DONE:
        await _check_done(request, case)
    told = partial(request.note, DONE, outcome.value + (f", {body.ground}" if body.ground else ""))
    case = await request.customer.requests.close(case.id, outcome, body.ground, by=request.principal.name, told=told)
    return await _shown(request, case)


async def _check_done(request: AuthorisedRequest, case: Case) -> None:
    """Check that a request was done as asked; raises Problem 409 or WrongState if not."""
    if case.state is State.OPEN:
        raise WrongState(case.state)
    why = "the erasure is not done"
    erasure = await request.customer.erasures.get(case.erasure) if case.erasure else None
    if erasure is not None and erasure.done_at is None:
        unfinished = Message(
            "problem.erasure-not-finished",
            "The erasure of this request is not finished yet; GET /erasures/ID shows what it waits for.",
        )
        raise conflict(unfinished, why)
    if erasure is None and Kind.ERASURE in case.kinds and await _any_left(request, case):
        left = Message(
            "problem.calls-not-erased",
            "The calls to be erased are still there. POST …/erasure erases them; or choose another outcome.",
        )
        raise conflict(left, why)


async def _any_left(request: AuthorisedRequest, case: Case) -> bool:
    """Return whether any confirmed call still exists."""
    for call in case.selection.inside:
        if await request.customer.calls.get(call) is not None:
            return True
    return False


def in_time(told: datetime, received: datetime, now: datetime) -> bool:
    """Return whether the person was told in the month after the letter arrived; "now" may be today in any time zone."""
    zones = ZONES if told == now else timedelta()
    well = received.date() <= (told + zones).date() and (told - zones).date() <= due(received).date()
    return well and told <= now + AHEAD


async def _find(request: AuthorisedRequest) -> Case:
    """Return the request of the path; raises Problem 404."""
    return await request.find(request.customer.requests.get)


async def _candidates(request: AuthorisedRequest, case: Case) -> list[Candidate]:
    """Return the candidates, including calls that have just begun; raises Problem 503, WrongState, TooManyCalls."""
    if case.asked is None:
        raise WrongState(case.state)
    await request.settle_all()
    return await request.customer.candidates.find(case.asked)


async def _shown(request: AuthorisedRequest, case: Case) -> Request:
    erasure = await request.customer.erasures.get(case.erasure) if case.erasure else None
    return request_views.case(case, request.customer.now(), await _report(request, case), erasure)


async def _report(request: AuthorisedRequest, case: Case) -> Report | None:
    """Return the newest report, None if there was none."""
    if not case.reports:
        return None
    newest, held = case.reports[-1], request.customer.exports
    export = await held.get(newest["export"])
    return request_views.report(newest, export, held.progress.get(newest["export"]))
