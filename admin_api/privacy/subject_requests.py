"""Data subject requests (Art. 15, 17, 20): file, find calls, confirm, report, erase, close."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from admin_api.calls.playback import Sent
from admin_api.exports import exports
from admin_api.http import body_reader, query_parameters, responses
from admin_api.http.authorised_request import DONE, FAILED, REFUSED, AuthorisedRequest
from admin_api.http.problems import Problem, conflict, invalid, not_found, unavailable
from admin_api.http.query_parameters import AHEAD
from admin_api.privacy import erasures, request_bodies, request_views
from storage.calls.call_row import Position
from storage.cursors import BadCursor
from storage.erasure.erasures import Held, NoWaiver
from storage.exports.exports import Export, ExportState, TooMany
from storage.keys.sealing import MAX_TEXT
from storage.subject_requests.candidates import Candidate, TooManyCalls
from storage.subject_requests.case_rows import Case, Kind, Selection, State, Step, due
from storage.subject_requests.cases import NoCase, Nothing, WrongState

STATE = query_parameters.Parameter(
    "state",
    State,
    f"one of {', '.join(State)}",
    {"type": "string", "enum": [state.value for state in State]},
    "open",
)
LISTED = (STATE, query_parameters.LIMIT, query_parameters.CURSOR)
CANDIDATES = (query_parameters.LIMIT, query_parameters.CURSOR)
AGE = "application/octet-stream"
CONTENT_TYPES = (exports.ZIP, AGE)
ZONES = timedelta(hours=14)  # no zone is further from UTC; within this of midnight, the day differs by zone
_FIRST = {
    State.OPEN: "Confirm first which calls concern the person: PUT …/selection.",
    State.REPORTING: "A report is being made. Wait for it, or cancel it.",
    State.ERASING: "The calls of this request are being erased.",
}


async def create(request: AuthorisedRequest) -> Response:
    """Answer POST /requests."""
    letter = await body_reader.given(request, request_bodies.letter)
    now = request.customer.now()
    received = letter.received_at or now
    if received > now + AHEAD:
        raise await _wrong(request, "received_at", "must not be later than now")
    if letter.asked.user is not None and await request.customer.users.get(letter.asked.user) is None:
        raise await _wrong(request, "user", "must be the id of a directory user, or null")

    async def told(id: str) -> None:
        await request.note(DONE, ", ".join(letter.kinds), id)

    case = await request.customer.requests.file(
        letter.kinds, letter.asked, received_at=received, by=request.principal.name, told=told
    )
    return responses.document(await _shown(request, case), 201)


async def listed(request: AuthorisedRequest) -> Response:
    """Answer GET /requests."""
    given = request.parameters(LISTED)
    try:
        found, more = await request.customer.requests.listed(given["limit"], given["cursor"] or None, given["state"])
    except BadCursor:
        raise query_parameters.bad_cursor() from None
    await request.note(DONE)
    shown = [await _shown(request, case) for case in found]
    return responses.page(shown, more)


async def view(request: AuthorisedRequest) -> Response:
    """Answer GET /requests/{id}."""
    request.no_parameters()
    case = await _find(request)
    await request.note(DONE)
    return responses.document(await _shown(request, case))


async def candidates(request: AuthorisedRequest) -> Response:
    """Answer GET /requests/{id}/candidates: calls that may concern the person, each with the reason."""
    given = request.parameters(CANDIDATES)
    try:
        after = Position.parse(given["cursor"]) if given["cursor"] else None
    except BadCursor:
        raise query_parameters.bad_cursor() from None
    case = await _find(request)
    found = await _candidates(request, case)
    await request.note(DONE, f"{len(found)} calls")
    rest = [each for each in found if after is None or Position.of(each.row) < after]
    page = rest[: given["limit"]]
    more = str(Position.of(page[-1].row)) if len(rest) > len(page) else None
    return responses.page([request_views.candidate(each, case) for each in page], more)


async def select(request: AuthorisedRequest) -> Response:
    """Answer PUT /requests/{id}/selection: which candidates concern the person; replaces the selection before."""
    chosen = await body_reader.given(request, request_bodies.selection)
    case = await _find(request)
    known = {each.row.id: each for each in await _candidates(request, case)}
    for name, ids in (("in", chosen.inside), ("out", chosen.outside)):
        if odd := sum(id not in known for id in ids):
            raise await _wrong(request, name, f"{odd} of these calls are not candidates of this request")
    for id, parties in chosen.inside.items():
        if parties is not None and not set(parties) <= {match.party for match in known[id].matches}:
            raise await _wrong(request, "in", "parties must be numbers of parties that match")
    before = case.selection.inside
    inside = {
        id: parties if parties is not None else known[id].parties or before.get(id, ())
        for id, parties in chosen.inside.items()
    }
    selection = Selection(inside, chosen.outside)

    async def told(id: str) -> None:
        await request.note(DONE, f"{len(chosen.inside)} calls in, {len(chosen.outside)} out")

    try:
        case = await request.customer.requests.select(case.id, selection, told=told)
    except (NoCase, WrongState) as problem:
        raise await _refusal(request, problem) from None
    return responses.document(await _shown(request, case))


async def extend(request: AuthorisedRequest) -> Response:
    """Answer PUT /requests/{id}/extension: the answer takes longer, and the person was told so within the month."""
    now = request.customer.now()
    wanted = await body_reader.given(request, lambda data: request_bodies.extension(data, now))
    case = await _find(request)
    if not in_time(wanted.told_at, case.received_at, now):
        raise await _wrong(request, "told_at", "must be in the month after the letter arrived, and not in the future")

    async def told(id: str) -> None:
        await request.note(DONE, f"{wanted.months} months, {wanted.ground}")

    try:
        case = await request.customer.requests.extend(case.id, wanted, by=request.principal.name, told=told)
    except (NoCase, WrongState) as problem:
        raise await _refusal(request, problem) from None
    return responses.document(await _shown(request, case))


async def report(request: AuthorisedRequest) -> Response:
    """Answer POST /requests/{id}/report: start making it."""
    wanted = await body_reader.given(request, request_bodies.report)
    case = await _find(request)

    async def told(id: str) -> None:
        media = f", media {wanted.media}" if wanted.media else ""
        others = ", other parties" if wanted.other_parties else ""
        silence = ", others silenced" if wanted.silence_others else ""
        await request.note(DONE, f"{len(case.selection.inside)} calls{media}{others}{silence}")

    try:
        case, export = await request.customer.requests.report(case.id, wanted, by=request.principal.name, told=told)
    except (NoCase, WrongState) as problem:
        raise await _refusal(request, problem) from None
    except TooMany as problem:
        await request.note(FAILED, "too many exports wait")
        raise unavailable(f"{problem}; {problem.hint}.") from None
    return responses.document(request_views.report(case.reports[-1], export, None), 202)


async def report_state(request: AuthorisedRequest) -> Response:
    """Answer GET /requests/{id}/report: the state of the newest one."""
    request.no_parameters()
    case = await _find(request)
    shown = await _report(request, case)
    if shown is None:
        await request.note(REFUSED, "no report")
        raise not_found()
    await request.note(DONE)
    return responses.document(shown)


async def report_file(request: AuthorisedRequest) -> Response:
    """Answer GET /requests/{id}/report/file; the request records who fetched it."""
    request.no_parameters()
    case = await _find(request)
    export = await request.customer.exports.get(case.export) if case.export else None
    if export is not None and export.state is ExportState.RUNNING:
        await request.note(FAILED, "not done yet")
        raise conflict("The report is not finished yet; its state shows when it is.")
    if export is None or export.state is not ExportState.DONE:
        await request.note(REFUSED, "no file")
        raise not_found()
    await request.note(DONE)
    reading = request.http.method == "GET"
    if reading:
        await request.customer.requests.fetched(case.id, export.id, by=request.principal.name)
    chunks = request.customer.exports.read(export) if reading else iter(())
    keys = request.customer.keys
    headers = _headers(case, export)
    return Sent(exports.away(chunks), 200, headers, lambda: None, kept=lambda: keys.keeps(export.leaf))


async def erase(request: AuthorisedRequest) -> Response:
    """Answer POST /requests/{id}/erasure: erase the selected calls, by the rules of POST /erasures."""
    reason = await body_reader.given(request, body_reader.one_text("reason", MAX_TEXT))
    case = await _find(request)

    async def told(id: str) -> None:
        await request.note(DONE, f"{len(case.selection.inside)} calls, erasure {id}")

    try:
        erasure = await request.customer.requests.erase(
            case.id,
            reason=reason,
            by=request.principal.name,
            identity=request.principal.actor.identity,
            approval=request.customer.settings.approval,
            told=told,
        )
    except (NoCase, WrongState) as problem:
        raise await _refusal(request, problem) from None
    except Nothing:
        await request.note(FAILED, "no call is selected")
        raise conflict("No call is selected, so there is nothing to erase. Select some with PUT …/selection.") from None
    except (NoWaiver, Held) as problem:
        raise await erasures.refusal(request, problem) from None
    return responses.document(erasures.shown(erasure), 202)


async def close(request: AuthorisedRequest) -> Response:
    """Answer POST /requests/{id}/close: sign what was done, and erase the person's details."""
    ending = await body_reader.given(request, request_bodies.ending)
    case = await _find(request)
    if ending.outcome is Step.DONE:
        await _as_asked(request, case)

    async def told(id: str) -> None:
        await request.note(DONE, ending.outcome.value + (f", {ending.ground}" if ending.ground else ""))

    try:
        case = await request.customer.requests.close(
            case.id, ending.outcome, ending.ground, by=request.principal.name, told=told
        )
    except (NoCase, WrongState) as problem:
        raise await _refusal(request, problem) from None
    return responses.document(await _shown(request, case))


async def _as_asked(request: AuthorisedRequest, case: Case) -> None:
    """Check that a request was done as asked; raises Problem 409 if not."""
    if case.state is State.OPEN:
        raise await _refusal(request, WrongState(case.state))
    erasure = await request.customer.erasures.get(case.erasure) if case.erasure else None
    if erasure is not None and erasure.done_at is None:
        await request.note(FAILED, "the erasure is not done")
        raise conflict("The erasure of this request is not finished yet; GET /erasures/ID shows what it waits for.")
    if erasure is None and Kind.ERASURE in case.kinds and await _any_left(request, case):
        await request.note(FAILED, "the erasure is not done")
        raise conflict("The calls to be erased are still there. POST …/erasure erases them; or choose another outcome.")


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
    """Return the candidates, including calls that have just begun; raises Problem 409 or 503."""
    if case.asked is None:
        raise await _refusal(request, WrongState(case.state))
    await request.settle_all()
    try:
        return await request.customer.candidates.find(case.asked)
    except TooManyCalls as problem:
        await request.note(FAILED, "too many calls match")
        raise conflict(f"{str(problem).capitalize()}. File a request that names the person more closely.") from None


async def _shown(request: AuthorisedRequest, case: Case) -> dict[str, Any]:
    erasure = await request.customer.erasures.get(case.erasure) if case.erasure else None
    return request_views.case(case, request.customer.now(), await _report(request, case), erasure)


async def _report(request: AuthorisedRequest, case: Case) -> dict[str, Any] | None:
    """Show the newest report, None if there was none."""
    if not case.reports:
        return None
    newest, held = case.reports[-1], request.customer.exports
    export = await held.get(newest["export"])
    return request_views.report(newest, export, held.progress.get(newest["export"]))


def _headers(case: Case, export: Export) -> dict[str, str]:
    encrypted = export.request is not None and case.reports[-1]["encrypted"]
    return {
        "Content-Type": AGE if encrypted else exports.ZIP,
        "Content-Disposition": f'attachment; filename="report-{case.id}.zip{".age" if encrypted else ""}"',
        "Content-Length": str(export.size_bytes or 0),
    }


async def _refusal(request: AuthorisedRequest, problem: NoCase | WrongState) -> Problem:
    """Return the Problem that says why a step is not possible."""
    if isinstance(problem, NoCase):
        return await request.missing()
    await request.note(FAILED, f"the request is {problem.state}")
    return conflict(_FIRST.get(problem.state, "The request is over; file a new one."))


async def _wrong(request: AuthorisedRequest, name: str, reason: str) -> Problem:
    await request.note(REFUSED, "not as described")
    return invalid([{"in": "body", "name": name, "reason": reason}])
