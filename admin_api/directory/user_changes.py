"""Create and change users of a customer without a directory, one by one or as a whole list.

Users from a directory or a CSV file are changed there; the next import would undo a change made here.
"""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from admin_api.directory import user_bodies
from admin_api.directory.users import named, shown
from admin_api.http import body_reader, json_body, responses
from admin_api.http.authorised_request import DONE, FAILED, AuthorisedRequest
from admin_api.http.problems import conflict
from storage.directory.import_plan import Plan
from storage.directory.user_store import User

SOURCE = "api"
BRAKE_PERCENT = 5
"""Share of active users; a list that would make more of them inactive needs `accept`: it may be a broken export."""
PIECE = 500
"""Users written in one transaction."""
_WHERE = {"entra": "Microsoft Entra ID", "csv": "the CSV file that is imported"}


async def create(request: AuthorisedRequest) -> Response:
    """Answer POST /users: a new user; 409 if a user with the same identity exists."""
    person = await body_reader.given(request, user_bodies.one)
    users = request.customer.users
    async with users.changing:  # of several concurrent requests for the same person, one creates it
        known = await users.known(SOURCE, person)
        if known is not None:
            await request.note(FAILED, "known already", known.id)
            raise conflict(f"This user already exists. Change it with PUT …/users/{known.id}.")
        await request.note(DONE)
        await users.carry_out(await users.one(person, SOURCE))
        user = await users.known(SOURCE, person)
    if user is None:
        raise conflict("The user has just been deleted.")
    return responses.document(shown(user), 201)


async def change(request: AuthorisedRequest) -> Response:
    """Answer PUT /users/{id}: replace the user; 409 for one who comes from a directory."""
    person = await body_reader.given(request, user_bodies.one)
    users = request.customer.users
    async with users.changing:
        user = await named(request)
        await _ours(request, user)
        other = await users.known(SOURCE, person)
        if other is not None and other.id != user.id:
            await request.note(FAILED, "another one is known by it")
            raise conflict(f"Another user has the same identity: {other.id}.")
        await request.note(DONE)
        await users.carry_out(await users.one(person, SOURCE, user))
    return responses.document(shown(await named(request)))


async def replace(request: AuthorisedRequest) -> Response:
    """Answer PUT /users: replace all users; 409 if so many would leave that the list looks broken."""
    wanted = await _whole(request)
    users = request.customer.users
    async with users.changing:
        plan = await users.plan(wanted.people, SOURCE, whole=True)
        if plan.asks(BRAKE_PERCENT) and not wanted.accept:
            await request.note(FAILED, "the brake holds")
            raise conflict(
                f"{len(plan.unmapped)} of {plan.active} users are not in the list and would become inactive. "
                'Check the list; "accept": true applies it all the same.'
            )
        await request.note(DONE, _counted(plan))
        for piece in plan.pieces(PIECE):
            await users.carry_out(piece)
        await users.completed(plan)
    return responses.document(plan.counts)


async def _whole(request: AuthorisedRequest) -> user_bodies.WholeList:
    """Read a whole list in a thread; raises Problem."""
    async with request.well_formed():
        request.no_parameters()
        data = await json_body.body(request.http, user_bodies.MAX_BODY)
        return await asyncio.to_thread(user_bodies.everybody, data)


async def _ours(request: AuthorisedRequest, user: User) -> None:
    """Refuse to change a user from another source; raises Problem 409."""
    if user.source != SOURCE:
        await request.note(FAILED, "from a directory")
        raise conflict(f"The user comes from {_WHERE.get(user.source, 'a directory')}: change it there.")


def _counted(plan: Plan) -> str:
    return ", ".join(f"{count} {name}" for name, count in plan.counts.items())
