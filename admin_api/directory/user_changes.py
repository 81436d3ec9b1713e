"""Users of a customer without a directory: made and changed here, one by one or as a whole list.

Whoever comes from a directory or a CSV file changes there; the next import would undo it here.
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
"""A list that would make more of the active users inactive asks first: a broken export looks like that."""
PIECE = 500
"""Users written in one transaction."""
_WHERE = {"entra": "Microsoft Entra ID", "csv": "the CSV file that is imported"}


async def create(request: AuthorisedRequest) -> Response:
    """Answer POST /users: a new user; 409 if there is one already who is told apart by the same."""
    person = await body_reader.given(request, user_bodies.one)
    users = request.customer.users
    async with users.changing:  # of several who name the same person at once, one makes it
        known = await users.known(SOURCE, person)
        if known is not None:
            await request.note(FAILED, "known already", known.id)
            raise conflict(f"There is such a user already. PUT …/users/{known.id} changes it.")
        await request.note(DONE)
        await users.carry_out(await users.one(person, SOURCE))
        user = await users.known(SOURCE, person)
    if user is None:
        raise conflict("The user was deleted in the same moment.")
    return responses.document(shown(user), 201)


async def change(request: AuthorisedRequest) -> Response:
    """Answer PUT /users/{id}: what the user is now; 409 for one who comes from a directory."""
    person = await body_reader.given(request, user_bodies.one)
    users = request.customer.users
    async with users.changing:
        user = await named(request)
        await _ours(request, user)
        other = await users.known(SOURCE, person)
        if other is not None and other.id != user.id:
            await request.note(FAILED, "another one is known by it")
            raise conflict(f"Another user is told apart by the same: {other.id}.")
        await request.note(DONE)
        await users.carry_out(await users.one(person, SOURCE, user))
    return responses.document(shown(await named(request)))


async def replace(request: AuthorisedRequest) -> Response:
    """Answer PUT /users: everybody there is; 409 if so many would leave that the list looks broken."""
    wanted = await _whole(request)
    users = request.customer.users
    async with users.changing:
        plan = await users.plan(wanted.people, SOURCE, whole=True)
        if plan.asks(BRAKE_PERCENT) and not wanted.accept:
            await request.note(FAILED, "the brake holds")
            raise conflict(
                f"{len(plan.unmapped)} of {plan.active} users are not in the list and would become inactive. "
                'Look at the list; "accept": true does it.'
            )
        await request.note(DONE, _counted(plan))
        for piece in plan.pieces(PIECE):
            await users.carry_out(piece)
        await users.completed(plan)
    return responses.document(plan.counts)


async def _whole(request: AuthorisedRequest) -> user_bodies.WholeList:
    """Read a whole list, away from the event loop; raises Problem."""
    async with request.well_formed():
        request.no_parameters()
        data = await json_body.body(request.http, user_bodies.MAX_BODY)
        return await asyncio.to_thread(user_bodies.everybody, data)


async def _ours(request: AuthorisedRequest, user: User) -> None:
    """Refuse to change somebody who comes from elsewhere; raises Problem 409."""
    if user.source != SOURCE:
        await request.note(FAILED, "from a directory")
        raise conflict(f"The user comes from {_WHERE.get(user.source, 'a directory')}: change it there.")


def _counted(plan: Plan) -> str:
    return ", ".join(f"{count} {name}" for name, count in plan.counts.items())
