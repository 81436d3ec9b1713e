"""Create and change users of a customer without a directory; others are changed in their directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import PageRequest, View
from admin_api.page.views.users import name_of

SINGLE = ("first_name", "last_name", "email", "upn", "account_name", "object_id")
SEVERAL = ("numbers", "addresses")


async def new(request: PageRequest) -> Response:
    """Show an empty form."""
    return _form(request, dict.fromkeys((*SINGLE, *SEVERAL), ""))


async def create(request: PageRequest) -> Response:
    """Create a user."""
    answer = await request.api.send("POST", "/users", _person(request))
    return request.moved(f"/users/{answer.document['id']}") if answer.well else _form(request, _given(request), answer)


async def edit(request: PageRequest) -> Response:
    """Show the form with the user's data."""
    found = await request.api.get(f"/users/{request.path_id}")
    if not found.well:
        return request.refused(found)
    user = found.document
    given = {name: user.get(name) or "" for name in SINGLE}
    several = {name: "\n".join(user.get(name) or ()) for name in SEVERAL}
    return _form(request, {**given, **several}, id=user["id"], name=name_of(user))


async def change(request: PageRequest) -> Response:
    """Change a user."""
    id = request.path_id
    answer = await request.api.send("PUT", f"/users/{id}", _person(request))
    return request.moved(f"/users/{id}") if answer.well else _form(request, _given(request), answer, id=id)


def _given(request: PageRequest) -> dict[str, str]:
    return {name: request.one(name) for name in (*SINGLE, *SEVERAL)}


def _person(request: PageRequest) -> dict[str, Any]:
    """Return the body for the API: no member for an empty field, a list of lines for a field with several values."""
    single: dict[str, Any] = {name: request.one(name).strip() or None for name in SINGLE}
    lines = {name: [line.strip() for line in request.one(name).splitlines() if line.strip()] for name in SEVERAL}
    return {**single, **lines}


def _form(
    request: PageRequest, given: Mapping[str, str], refused: Answer | None = None, *, id: str = "", name: str = ""
) -> Response:
    return request.page(
        "user_edit.html",
        status=refused.status if refused else 200,
        problem=refused.document if refused else None,
        given=given,
        id=id,
        name=name,
        single=SINGLE,
    )


VIEWS = (
    View("GET", "/users/new", new, Action.USER_CREATE),
    View("POST", "/users/new", create, Action.USER_CREATE),
    View("GET", "/users/{id}/edit", edit, Action.USER_CHANGE),
    View("POST", "/users/{id}/edit", change, Action.USER_CHANGE),
)
