"""Directory users: search by current or former identity; show one with identities and calls; unmap, delete."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.calls import calls
from admin_api.directory import users
from admin_api.directory.users import User
from admin_api.http.permissions import Action
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.page.views.call_summary import summary
from storage.directory.user import UserState

PAGE = 50  # users of one page
CALLS = 20
"""Maximum number of calls shown beside a user; a link leads to all."""
IDENTITIES = ("email", "upn", "object_id", "numbers", "addresses")
"""Kinds of identities that link calls to users."""


@view("GET", "/users", Action.USERS, menu="users")
async def listed(request: PageRequest) -> Response:
    """Show a page of users."""
    state = request.asked("state")
    asked = {"q": request.asked("q"), "state": state if state in tuple(UserState) else ""}
    query = {**asked, "limit": PAGE, "cursor": request.asked("cursor")}
    found = users.list_users.ask(request.caller(), query=query)
    return await request.listed("users.html", found, asked=asked, states=UserState, name_of=name_of)


@view("GET", "/users/{id}", Action.USER)
async def one(request: PageRequest, id: str) -> Response:
    """Show one user."""
    user = await users.view(request.caller(), id)
    found = await calls.search(request.caller(), query=calls.Search(party=id, limit=CALLS))
    return request.page(
        "user.html",
        user=user,
        name=name_of(user),
        names=[each for each in user["former"] if each["kind"] not in IDENTITIES],
        rows=[summary(call) for call in found["items"]],
        more=found["next_cursor"] is not None,
        incomplete=found.get("incomplete", False),
    )


@view("GET", "/users/{id}/export", Action.USER_EXPORT, file=True)
async def export(request: PageRequest, id: str) -> Response:
    """Answer with everything stored about a user, as a file."""
    return await users.export(request.caller(), id)


@view("POST", "/users/{id}/unmap", Action.USER_UNMAP, form=one.show)
async def unmap(request: PageRequest, id: str) -> str:
    """Mark a user as no longer in the directory."""
    await users.unmap(request.caller(), id)
    return f"/users/{id}"


@view("POST", "/users/{id}/delete", Action.USER_DELETE, form=one.show)
async def delete(request: PageRequest, id: str) -> str:
    """Delete a user who is neither in the directory nor in recordings."""
    await users.delete(request.caller(), id)
    return "/users"


def name_of(user: User) -> str:
    """Return the best name the directory has for a user."""
    whole = " ".join(part for part in (user["first_name"], user["last_name"]) if part)
    return whole or user["account_name"] or user["email"] or user["upn"] or ""
