"""Ask for an erasure (Art. 17), look how far it is, approve what somebody else asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from admin_api import answers, bodies, members, schemas
from admin_api.errors import conflict, not_found, own_request
from admin_api.request import DONE, REFUSED, Asked
from admin_api.roles import is_id
from storage.erasure import Held, NoErasure, NoWaiver, OwnRequest
from storage.erasurerows import Erasure
from storage.papers import MAX_TEXT

_NO_WAIVER = "Immediate erasure needs an active waiver. Put one on file with PUT /waiver, then ask again."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to be erased: exactly one of calls and party is given."""

    calls: tuple[str, ...] | None
    """Ids of calls."""
    party: str | None = field(repr=False)
    """Everything of one person."""
    reason: str = field(repr=False)
    """Why."""

    @property
    def told(self) -> str:
        """Say in the audit log what is asked for, but not about whom."""
        return "party" if self.calls is None else f"{len(self.calls)} calls"


async def create(asked: Asked) -> Response:
    """Answer POST /erasures; the request is durable when the answer goes out, and nothing was filed after a 409."""
    wanted = await members.given(asked, read)
    try:
        erasure = await asked.customer.erasures.file(
            calls=wanted.calls,
            party=wanted.party,
            reason=wanted.reason,
            by=asked.principal.name,
            approval=asked.customer.settings.approval,
        )
    except NoWaiver:
        await asked.note(REFUSED, "no active waiver")
        raise conflict(_NO_WAIVER) from None
    except Held as problem:
        await asked.note(REFUSED, f"{len(problem.ids)} calls are under legal hold")
        told = f"{len(problem.ids)} of these calls are under legal hold, so nothing is erased."
        raise conflict(
            f"{told} Release them first, or leave them out; `hold` of a call says whether it is held."
        ) from None
    await asked.note(DONE, wanted.told, erasure.id)
    return answers.document(shown(erasure), 202)


async def listed(asked: Asked) -> Response:
    """Answer GET /erasures: what is not done yet, oldest first."""
    schemas.read((), asked.http.query_params.multi_items())
    found = await asked.customer.erasures.open()
    await asked.note(DONE)
    return answers.page([shown(erasure) for erasure in found], None)


async def view(asked: Asked) -> Response:
    """Answer GET /erasures/{id}."""
    schemas.read((), asked.http.query_params.multi_items())
    erasure = await asked.customer.erasures.get(asked.object) if is_id(asked.object) else None
    if erasure is None:
        await asked.note(REFUSED, "not found")
        raise not_found()
    await asked.note(DONE)
    return answers.document(shown(erasure))


async def approve(asked: Asked) -> Response:
    """Answer POST /erasures/{id}/approve; what needs no approval any more stays as it is."""
    schemas.read((), asked.http.query_params.multi_items())
    await bodies.empty_body(asked.http)
    try:
        if not is_id(asked.object):
            raise NoErasure("there is no such erasure")
        erasure = await asked.customer.erasures.approve(asked.object, by=asked.principal.name)
    except NoErasure:
        await asked.note(REFUSED, "not found")
        raise not_found() from None
    except OwnRequest:
        await asked.note(REFUSED, "own request")
        raise own_request() from None
    except NoWaiver:
        await asked.note(REFUSED, "no active waiver")
        raise conflict(_NO_WAIVER) from None
    await asked.note(DONE)
    return answers.document(shown(erasure))


def read(data: bytes) -> Wanted:
    """Read the body of POST /erasures; raises Problem 422."""
    body = members.parse(data, ("calls", "party", "reason"))
    reason, calls, party = body.text("reason", MAX_TEXT), body.raw("calls"), body.raw("party")
    if ("calls" in body) == ("party" in body):
        body.wrong("calls", "exactly one of calls and party must be given")
    elif "party" in body:
        party = body.text("party", schemas.MAX_PARTY)
    elif not isinstance(calls, list) or not calls or not all(isinstance(each, str) for each in calls):
        body.wrong("calls", "must be a list of ids of calls")
    body.done()
    return Wanted(None if calls is None else tuple(dict.fromkeys(calls)), party, reason)


def shown(erasure: Erasure) -> dict[str, Any]:
    """Show an erasure; neither party nor reason is said again."""
    return {
        "id": erasure.id,
        "state": erasure.state.value,
        "cause": erasure.cause,
        "rule": erasure.rule,
        "requested_at": schemas.rfc3339(erasure.requested_at),
        "requested_by": erasure.requested_by,
        "approved_at": schemas.rfc3339(erasure.approved_at),
        "approved_by": erasure.approved_by,
        "done_at": schemas.rfc3339(erasure.done_at),
        "receipt": erasure.receipt,
    }
