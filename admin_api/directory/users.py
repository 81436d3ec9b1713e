"""Directory users: find, view, export, unmap, delete. Names change only at their source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypedDict

from msgspec import Meta
from starlette.responses import Response

from admin_api.http import reading, responses
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import PRIVACY, Action
from admin_api.http.problems import not_found
from admin_api.http.types import MAX_PARTY, Cursor, Given, Id, Limit, Listed, Time, listed, party, right, text, word
from storage.calls.call_row import DEFAULT_LIMIT
from storage.customer.customers import Customer
from storage.directory import user_search
from storage.directory.user import EVER, NEVER, UserState, fields
from storage.directory.user import Identity as StoredIdentity
from storage.directory.user_store import User as StoredUser
from storage.ids import is_id
from storage.timestamps import from_micros, rfc3339

SOURCES = ("entra", "csv", "api")
MOST_UNREAD = 5_000
"""Up to this many users, a search decrypts each one that is not in memory yet: half a second. With more, it waits until
all are in memory: 15 s of CPU for 100,000, once after a start."""
FEW = 200
"""Users loaded while a search waits: 50 ms. The others are found soon after."""


_RIGHT_QUESTION = Message(
    "reason.question", "must be words of a name, a number, an e-mail or SIP address, at most {most} characters"
).of(most=MAX_PARTY)
_Question = Annotated[str, text(MAX_PARTY, "Ada", party), right(_RIGHT_QUESTION)]
_State = Annotated[UserState, Meta(description="active or inactive", examples=["active"])]


class UserQuery(Given):
    """The query of a list of users."""

    q: _Question | None = None
    state: _State | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


class Former(TypedDict):
    """What was said about a user before."""

    kind: str
    value: str
    since: Time | None
    until: Time


class Identity(TypedDict):
    """What links calls to a user, and when; null means without limit."""

    kind: str
    value: str
    since: Time | None
    possibly_since: Time | None
    until: Time | None


class User(TypedDict):
    """A directory user."""

    id: Id
    state: Annotated[str, word(UserState)]
    source: Annotated[str, word(SOURCES)]
    first_name: str | None
    last_name: str | None
    account_name: str | None
    email: str | None
    upn: str | None
    object_id: str | None
    numbers: list[str]
    addresses: list[str]
    former: list[Former]
    identities: list[Identity]
    updated_at: Time
    unmapped_at: Time | None


class UserExport(TypedDict):
    """Everything stored about a user."""

    version: Literal[1]
    created_at: Time
    user: User
    calls: list[Id]
    uncertain: list[Id]
    calls_settled: bool


@endpoint("GET", "/users", Action.USERS, PRIVACY)
async def list_users(request: AuthorisedRequest, query: UserQuery) -> Listed[User]:
    """Directory users.

    By name: all, or those whom a name, number or address matches now or did before.
    """
    after = query.cursor or ""
    if after and not is_id(after):
        raise reading.bad_cursor()
    found, cursor = await _found(request.customer, query, after)
    return listed([shown(user) for user in found], cursor)


@endpoint("GET", "/users/{id}", Action.USER, PRIVACY)
async def view(request: AuthorisedRequest, id: str) -> User:
    """A directory user."""
    return shown(await named(request))


@endpoint("GET", "/users/{id}/export", Action.USER_EXPORT, PRIVACY)
async def export(request: AuthorisedRequest, id: str) -> Annotated[Response, UserExport]:
    """Everything stored about a directory user.

    The calls that refer to it are named. The answer is a file.
    """
    user = await named(request)
    settled = await request.customer.users.settled(user)
    calls = await request.customer.users.calls_of(user)
    sure = {*await request.customer.users.sure_calls_of(user)}
    await request.note(DONE, f"{len(calls)} calls")
    document: UserExport = {
        "version": 1,
        "created_at": rfc3339(datetime.now(UTC)),
        "user": shown(user),
        "calls": list(calls),
        "uncertain": [call for call in calls if call not in sure],
        "calls_settled": settled,
    }
    answer = responses.document(document)
    answer.headers["Content-Disposition"] = f'attachment; filename="user-{user.id}.json"'
    return answer


@endpoint("POST", "/users/{id}/unmap", Action.USER_UNMAP, PRIVACY)
async def unmap(request: AuthorisedRequest, id: str) -> User:
    """Take a user out of the directory.

    It is inactive until the directory lists it again.
    """
    await named(request)
    await request.note(DONE)
    user = await request.customer.users.unmap(id)
    if user is None:
        raise not_found()
    return shown(user)


@endpoint(
    "DELETE",
    "/users/{id}",
    Action.USER_DELETE,
    PRIVACY,
    conflict="The user is still in the directory, or recordings refer to it",
)
async def delete(request: AuthorisedRequest, id: str) -> None:
    """Delete a user no recording refers to."""
    await named(request)
    await request.settle_all()  # a live call refers to them too
    if not await request.customer.users.delete(id, lambda: request.note(DONE)):
        raise not_found()


def shown(user: StoredUser) -> User:
    """Return a user in the form of the API."""
    return {
        "id": user.id,
        "state": user.state.value,
        "source": user.source,
        **fields(user.person),  # type: ignore[typeddict-item]  # the members of a Person
        "former": [
            {"kind": each.kind, "value": each.value, "since": each.since.at or None, "until": each.until}
            for each in user.former
        ],
        "identities": [_identity(each) for each in user.identities],
        "updated_at": rfc3339(user.updated_at),
        "unmapped_at": rfc3339(user.unmapped_at),
    }


async def named(request: AuthorisedRequest) -> StoredUser:
    """Return the user of the path; raises Problem 404."""
    return await request.find(request.customer.users.get)


async def _found(customer: Customer, query: UserQuery, after: str) -> tuple[tuple[StoredUser, ...], str | None]:
    """Find users; a search by text also finds those who were just added."""
    country, who = customer.settings.country, customer.user_matcher.who
    if query.q is not None:
        await customer.user_matcher.refresh(most=FEW)
        who = customer.user_matcher.who
        if who is None and await customer.users.count() > MOST_UNREAD:
            await customer.user_matcher.load_now()
            who = customer.user_matcher.who
    limit, state = query.limit, query.state
    return await user_search.find(customer.users, who, query.q, country, limit=limit, after=after, state=state)


def _identity(each: StoredIdentity) -> Identity:
    """Return the identities that link calls to a user, each with its time; null means without limit."""
    return {
        "kind": each.kind,
        "value": each.value,
        "since": _moment(each.since),
        "possibly_since": _moment(each.reaches),
        "until": _moment(each.until),
    }


def _moment(micros: int) -> str | None:
    return rfc3339(from_micros(micros)) if EVER < micros < NEVER else None
