"""Creation and changes of a customer's users without a directory, one by one or as a whole list.

Users from a directory or a CSV file are changed there; the next import would undo a change made here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, TypedDict, cast

import msgspec
from msgspec import Meta

from admin_api.directory.users import User, named, shown
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import PRIVACY, Action
from admin_api.http.problems import FAILED, Fault, conflict
from admin_api.http.types import TEXTS, Count, Given, right, said
from storage.directory.user import Person
from storage.directory.user_store import User as StoredUser

MAX_BODY = 4 << 20  # bytes of a whole list: parsing more at once would block the event loop for over 50 ms
SOURCE = "api"
BRAKE_PERCENT = 5
"""Share of active users; a list that would make more of them inactive needs `accept`: it may be a broken export."""
PIECE = 500
"""Users written in one transaction."""
MAX_FIELD = 512  # characters; the longest e-mail address has 254
MAX_SEVERAL = 50  # numbers, and addresses, of one person
KEYS = ("object_id", "upn", "email", "account_name")  # identities of a person, in order of precedence

_Text = Annotated[str, said(MAX_FIELD)]
_Texts = Annotated[list[_Text], Meta(max_length=MAX_SEVERAL), right(TEXTS.of(most=MAX_SEVERAL, size=MAX_FIELD))]
_WHERE = {
    "entra": Message("problem.from-entra", "The user comes from Microsoft Entra ID: change it there."),
    "csv": Message("problem.from-csv", "The user comes from the CSV file that is imported: change it there."),
}
_ELSEWHERE = Message("problem.from-directory", "The user comes from a directory: change it there.")


class UserRequest(Given):
    """A person, as a directory would describe them."""

    first_name: _Text | None = None
    last_name: _Text | None = None
    account_name: _Text | None = None
    email: _Text | None = None
    upn: _Text | None = None
    object_id: _Text | None = None
    numbers: _Texts | None = None
    addresses: _Texts | None = None

    schema: ClassVar[Mapping[str, Any]] = {
        "required": None,
        "anyOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in KEYS],
    }

    def faults(self) -> Iterable[Fault]:
        """Require a member that identifies the person."""
        if not self.key:
            key = Message("reason.no-identity", "must have one of {names}, which identify the person")
            yield "", key.of(names=KEYS)

    @property
    def key(self) -> str:
        """Return the identity of the person (`Person.key`), "" if there is none."""
        named = self.object_id or self.upn or self.email or self.account_name or ""
        return named.strip().casefold()

    @property
    def person(self) -> Person:
        """Return the person, without blanks around the sent texts."""
        given: dict[str, Any] = msgspec.structs.asdict(self)
        for name, value in given.items():
            several = name in ("numbers", "addresses")
            given[name] = tuple(dict.fromkeys(map(str.strip, value or ()))) if several else (value or "").strip()
        return Person(**given)


class UsersRequest(Given):
    """All people of a directory."""

    users: Annotated[list[UserRequest], right(Message("reason.people", "must be a list of people"))]
    """The complete list; a user who is not in it has left."""
    accept: bool | None = None
    """Accept the list even if so many would leave that it looks broken."""

    entry: ClassVar[str] = "[{}]"

    def faults(self) -> Iterable[Fault]:
        """Require that everybody is named once."""
        known = set[str]()
        for number, each in enumerate(self.users):
            if each.key in known:
                twice = Message("reason.person-twice", "has the same identity as an earlier person in the list")
                yield f"users[{number}]", twice
                return
            known.add(each.key)


class UserCounts(TypedDict):
    """What a whole list changed."""

    added: Count
    changed: Count
    unmapped: Count
    unchanged: Count


@endpoint("POST", "/users", Action.USER_CREATE, PRIVACY, status=201, conflict="This user already exists")
async def create(request: AuthorisedRequest, body: UserRequest) -> User:
    """Add a user, for customers whose users come through the API."""
    person, users = body.person, request.customer.users
    async with users.changing:  # of concurrent requests for the same person, only one creates the user
        known = await users.known(SOURCE, person)
        if known is not None:
            await request.note(FAILED, "known already", known.id)
            exists = Message("problem.user-exists", "This user already exists. Change it with PUT …/users/{id}.")
            raise conflict(exists.of(id=known.id))
        await request.note(DONE)
        await users.carry_out(await users.one(person, SOURCE))
        user = await users.known(SOURCE, person)
    if user is None:
        raise conflict(Message("problem.user-deleted", "The user has just been deleted."))
    return shown(user)


@endpoint(
    "PUT",
    "/users/{id}",
    Action.USER_CHANGE,
    PRIVACY,
    conflict="The user comes from a directory, or another user has the same identity",
)
async def change(request: AuthorisedRequest, id: str, body: UserRequest) -> User:
    """Change a user who came through the API."""
    person, users = body.person, request.customer.users
    async with users.changing:
        user = await named(request)
        _check_ours(user)
        other = await users.known(SOURCE, person)
        if other is not None and other.id != user.id:
            same = Message("problem.same-identity", "Another user has the same identity: {id}.").of(id=other.id)
            raise conflict(same, "another one is known by it")
        await request.note(DONE)
        await users.carry_out(await users.one(person, SOURCE, user))
    return shown(await named(request))


@endpoint(
    "PUT",
    "/users",
    Action.USERS_REPLACE,
    PRIVACY,
    limit=MAX_BODY,
    conflict="So many users would become inactive that the list looks broken; nothing was changed",
)
async def replace(request: AuthorisedRequest, body: UsersRequest) -> UserCounts:
    """Replace all users who come through the API; a user who is not in the list becomes inactive."""
    users = request.customer.users
    people = await asyncio.to_thread(lambda: tuple(each.person for each in body.users))
    async with users.changing:
        plan = await users.plan(people, SOURCE, whole=True)
        if plan.asks(BRAKE_PERCENT) and not body.accept:
            left = Message(
                "problem.users-left",
                "{left} of {all} users are not in the list and would become inactive. "
                'Check the list; "accept": true applies it all the same.',
            )
            raise conflict(left.of(left=len(plan.unmapped), all=plan.active), "the brake holds")
        await request.note(DONE, ", ".join(f"{count} {name}" for name, count in plan.counts.items()))
        for piece in plan.pieces(PIECE):
            await users.carry_out(piece)
        await users.completed(plan)
    return cast("UserCounts", plan.counts)


def _check_ours(user: StoredUser) -> None:
    """Refuse to change a user from another source; raises Problem 409."""
    if user.source != SOURCE:
        raise conflict(_WHERE.get(user.source, _ELSEWHERE), "from a directory")
