"""Directory users: find, view, export, unmap, delete. Names change only at their source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from admin_api.http import json_body, query_parameters, responses
from admin_api.http.authorised_request import DONE, FAILED, AuthorisedRequest
from admin_api.http.permissions import is_id
from admin_api.http.problems import conflict, not_found
from storage.cursors import BadCursor
from storage.customer.customers import Customer
from storage.directory import user_search
from storage.directory.user import EVER, NEVER, Former, Identity, UserState, fields
from storage.directory.user_store import Mapped, Referred, User
from storage.timestamps import from_micros, rfc3339

QUESTION = query_parameters.Parameter(
    "q",
    query_parameters.party,
    f"words of a name, a number, an e-mail or SIP address, at most {query_parameters.MAX_PARTY} characters",
    {"type": "string", "minLength": 1, "maxLength": query_parameters.MAX_PARTY},
    "Ada",
)
STATE = query_parameters.Parameter(
    "state",
    UserState,
    "active or inactive",
    {"type": "string", "enum": [state.value for state in UserState]},
    "active",
)
USERS = (QUESTION, STATE, query_parameters.LIMIT, query_parameters.CURSOR)
EXPORT_VERSION = 1
MOST_UNREAD = 5_000
"""Up to this many users, a search decrypts each one that is not in memory yet: half a second. With more, it waits until
all are in memory: 15 s of CPU for 100,000, once after a start."""
FEW = 200
"""Users loaded while a search waits: 50 ms. The others are found soon after."""


async def listed(request: AuthorisedRequest) -> Response:
    """Answer GET /users by name: all, or those whom a name, number or address matches now or did before."""
    given = request.parameters(USERS)
    after = given["cursor"] or ""
    if after and not is_id(after):
        raise query_parameters.bad_cursor()
    try:
        found, cursor = await _found(request.customer, given["q"], given["state"], given["limit"], after)
    except BadCursor:
        raise query_parameters.bad_cursor() from None
    await request.note(DONE)
    return responses.page([shown(user) for user in found], cursor)


async def view(request: AuthorisedRequest) -> Response:
    """Answer GET /users/{id}."""
    request.no_parameters()
    user = await named(request)
    await request.note(DONE)
    return responses.document(shown(user))


async def export(request: AuthorisedRequest) -> Response:
    """Answer GET /users/{id}/export: everything stored about a user, and the calls that refer to it, as a file."""
    request.no_parameters()
    user = await named(request)
    settled = await request.customer.users.settled(user)
    calls = await request.customer.users.calls_of(user)
    sure = {*await request.customer.users.sure_calls_of(user)}
    await request.note(DONE, f"{len(calls)} calls")
    made = rfc3339(datetime.now(UTC))
    document = {
        "version": EXPORT_VERSION,
        "created_at": made,
        "user": shown(user),
        "calls": list(calls),
        "uncertain": [call for call in calls if call not in sure],
        "calls_settled": settled,
    }
    answer = responses.document(document)
    answer.headers["Content-Disposition"] = f'attachment; filename="user-{user.id}.json"'
    return answer


async def unmap(request: AuthorisedRequest) -> Response:
    """Answer POST /users/{id}/unmap: make the user inactive until the directory lists it again."""
    request.no_parameters()
    await json_body.empty_body(request.http)
    await named(request)
    await request.note(DONE)
    user = await request.customer.users.unmap(request.object)
    if user is None:
        raise not_found()
    return responses.document(shown(user))


async def delete(request: AuthorisedRequest) -> Response:
    """Answer DELETE /users/{id}: 409 while the directory has the user, or recordings refer to it."""
    request.no_parameters()
    await named(request)
    await request.settle_all()  # a live call refers to them too
    try:
        gone = await request.customer.users.delete(request.object, lambda: request.note(DONE))
    except Mapped:
        await request.note(FAILED, "still in the directory")
        raise conflict("The user is still in the directory. Unmap it there first, or by POST …/unmap.") from None
    except Referred:
        await request.note(FAILED, "recordings refer to it")
        raise conflict("Recordings refer to this user. It can be deleted once they are erased.") from None
    if not gone:
        raise not_found()
    return Response(status_code=204)


def shown(user: User) -> dict[str, Any]:
    """Show a user."""
    return {
        "id": user.id,
        "state": user.state.value,
        "source": user.source,
        **fields(user.person),
        "former": [_former(each) for each in user.former],
        "identities": [_identity(each) for each in user.identities],
        "updated_at": rfc3339(user.updated_at),
        "unmapped_at": rfc3339(user.unmapped_at),
    }


async def named(request: AuthorisedRequest) -> User:
    """Return the user of the path; raises Problem 404."""
    return await request.find(request.customer.users.get)


async def _found(
    customer: Customer, text: str | None, state: UserState | None, limit: int, after: str
) -> tuple[tuple[User, ...], str | None]:
    if text is None:
        who = customer.correlation.who
        return await user_search.find(
            customer.users, who, None, customer.settings.country, limit=limit, after=after, state=state
        )
    await customer.correlation.refresh(most=FEW)  # so that a user who was just added is found
    country, who = customer.settings.country, customer.correlation.who
    if who is None and await customer.users.count() > MOST_UNREAD:
        await customer.correlation.load_now()
        who = customer.correlation.who
    return await user_search.find(customer.users, who, text, country, limit=limit, after=after, state=state)


def _former(each: Former) -> dict[str, Any]:
    return {"kind": each.kind, "value": each.value, "since": each.since.at or None, "until": each.until}


def _identity(each: Identity) -> dict[str, Any]:
    """Show the identities that link calls to a user, each with its time; null means without limit."""
    return {
        "kind": each.kind,
        "value": each.value,
        "since": _moment(each.since),
        "possibly_since": _moment(each.reaches),
        "until": _moment(each.until),
    }


def _moment(micros: int) -> str | None:
    return rfc3339(from_micros(micros)) if EVER < micros < NEVER else None
