"""Missing or incomplete recordings, and security events."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict, cast

from msgspec import Meta

from admin_api.http.authorised_request import AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.permissions import Action, Role
from admin_api.http.types import Listed, Page, Time, listed
from storage import cursors


class Incident(TypedDict):
    """Something that happened, once or several times; further members say to what."""

    kind: str
    first_at: NotRequired[Time]
    last_at: NotRequired[Time]
    count: NotRequired[Annotated[int, Meta(ge=1)]]


@endpoint("GET", "/incidents", Action.INCIDENTS, (Role.OPERATOR, Role.ADMIN))
async def list_incidents(request: AuthorisedRequest, query: Page) -> Listed[Incident]:
    """Recordings that are missing or incomplete, and security events, newest first.

    A cursor counts the incidents older than the previous page, so new ones do not shift it.
    """
    every = request.daemon.incidents(request.customer.name)
    left = _left(query.cursor, len(every))
    begin = len(every) - left
    items = every[begin : begin + query.limit]
    left -= len(items)
    return listed(cast("list[Incident]", list(items)), cursors.by_numbers(left) if left > 0 else None)


def _left(cursor: str | None, count: int) -> int:
    """Return the number of incidents still to show; raises BadCursor."""
    return count if cursor is None else min(count, *cursors.read_by_numbers(cursor))
