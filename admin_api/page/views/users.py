"""Directory users: search by current or former identity; show one with identities and calls; unmap, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import PageRequest, View
from admin_api.page.views.call_summary import Mark, summary

PAGE = 50  # users of one page
CALLS = 20
"""Most calls shown beside a user; a link leads to all."""
STATES = {"active": Mark("user-state.active", "good"), "inactive": Mark("user-state.inactive", "warn")}
IDENTITIES = ("email", "upn", "object_id", "numbers", "addresses")
"""Kinds of identities that link calls to users."""


async def listed(request: PageRequest) -> Response:
    """Show a page of users."""
    query = request.http.query_params
    q, state, cursor = (query.get(name, "").strip() for name in ("q", "state", "cursor"))
    state = state if state in STATES else ""
    found = await request.api.get("/users", {"q": q, "state": state, "limit": PAGE, "cursor": cursor})
    return request.page(
        "users.html",
        status=found.status,
        problem=None if found.well else found.document,
        rows=[_row(user) for user in found.items],
        q=q,
        state=state,
        states=STATES,
        cursor=cursor,
        next_cursor=found.next_cursor,
        asked=[(name, value) for name, value in (("q", q), ("state", state)) if value],
    )


async def one(request: PageRequest) -> Response:
    """Show one user."""
    return await _shown(request)


async def export(request: PageRequest) -> Response:
    """Answer with everything stored about a user, as a file."""
    return await request.api.stream(f"/users/{request.path_id}/export")


async def unmap(request: PageRequest) -> Response:
    """Mark a user as no longer in the directory."""
    answer = await request.api.send("POST", f"/users/{request.path_id}/unmap")
    return request.moved(f"/users/{request.path_id}") if answer.well else await _shown(request, answer)


async def delete(request: PageRequest) -> Response:
    """Delete a user who is neither in the directory nor in recordings."""
    answer = await request.api.send("DELETE", f"/users/{request.path_id}")
    return request.moved("/users") if answer.well else await _shown(request, answer)


async def _shown(request: PageRequest, problem: Answer | None = None) -> Response:
    found = await request.api.get(f"/users/{request.path_id}")
    if not found.well:
        return request.refused(found)
    calls = await request.api.get("/calls", {"party": request.path_id, "limit": CALLS})
    user = found.document
    return request.page(
        "user.html",
        status=problem.status if problem else 200,
        problem=problem.document if problem else None,
        user=user,
        name=name_of(user),
        state=STATES[user["state"]],
        source=user["source"],
        identities=user.get("identities") or (),
        names=[each for each in user.get("former") or () if each["kind"] not in IDENTITIES],
        rows=[summary(call) for call in calls.items],
        more=calls.next_cursor is not None,
        incomplete=calls.incomplete,
    )


def name_of(user: Mapping[str, Any]) -> str:
    """Return the best name the directory has for a user."""
    whole = " ".join(part for part in (user.get("first_name"), user.get("last_name")) if part)
    return whole or str(user.get("account_name") or user.get("email") or user.get("upn") or "")


def _row(user: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": user["id"],
        "name": name_of(user),
        "email": user.get("email") or "",
        "numbers": user.get("numbers") or (),
        "state": STATES[user["state"]],
        "source": user["source"],
    }


VIEWS = (
    View("GET", "/users", listed, Action.USERS, menu="users"),
    View("GET", "/users/{id}", one, Action.USER),
    View("GET", "/users/{id}/export", export, Action.USER_EXPORT),
    View("POST", "/users/{id}/unmap", unmap, Action.USER_UNMAP),
    View("POST", "/users/{id}/delete", delete, Action.USER_DELETE),
)
