"""Creation and changes of a customer's users without a directory; others are changed in their directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from admin_api.directory import user_changes, users
from admin_api.http.permissions import Action
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.page.views.users import name_of

SINGLE = ("first_name", "last_name", "email", "upn", "account_name", "object_id")
SEVERAL = ("numbers", "addresses")


@view("GET", "/users/new", Action.USER_CREATE)
async def new(request: PageRequest) -> Response:
    """Show an empty form, or one as it was sent."""
    return _form(request, _given(request))


@view("POST", "/users/new", Action.USER_CREATE, form=new.show)
async def create(request: PageRequest) -> str:
    """Create a user."""
    made = await user_changes.create.ask(request.caller(), body=_person(request))
    return f"/users/{made['id']}"


@view("GET", "/users/{id}/edit", Action.USER_CHANGE)
async def edit(request: PageRequest, id: str) -> Response:
    """Show the form with the user's data."""
    user = await users.view(request.caller(), id)
    person: Mapping[str, Any] = user
    given = {name: person[name] or "" for name in SINGLE}
    several = {name: "\n".join(person[name]) for name in SEVERAL}
    return _form(request, {**given, **several}, id, name_of(user))


async def _refused(request: PageRequest, id: str) -> Response:
    return _form(request, _given(request), id)


@view("POST", "/users/{id}/edit", Action.USER_CHANGE, form=_refused)
async def change(request: PageRequest, id: str) -> str:
    """Change a user."""
    await user_changes.change.ask(request.caller(), id, body=_person(request))
    return f"/users/{id}"


def _given(request: PageRequest) -> dict[str, str]:
    return {name: request.one(name) for name in (*SINGLE, *SEVERAL)}


def _person(request: PageRequest) -> dict[str, Any]:
    """Return the body for the API: null for an empty field, a list of lines for a field with several values."""
    single: dict[str, Any] = {name: request.one(name).strip() or None for name in SINGLE}
    lines = {name: [line.strip() for line in request.one(name).splitlines() if line.strip()] for name in SEVERAL}
    return {**single, **lines}


def _form(request: PageRequest, given: Mapping[str, str], id: str = "", name: str = "") -> Response:
    return request.page("user_edit.html", given=given, id=id, name=name, single=SINGLE)
