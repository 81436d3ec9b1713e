"""Missing or incomplete recordings, and security events."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http import query_parameters, responses
from admin_api.http.authorised_request import DONE, AuthorisedRequest

INCIDENTS = (query_parameters.LIMIT, query_parameters.CURSOR)


async def listed(request: AuthorisedRequest) -> Response:
    """Answer GET /incidents: newest first.

    A cursor counts the incidents older than the previous page, so new ones do not shift it.
    """
    given = request.parameters(INCIDENTS)
    every = request.daemon.incidents(request.customer.name)
    left = _left(given["cursor"], len(every))
    begin = len(every) - left
    items = every[begin : begin + given["limit"]]
    left -= len(items)
    await request.note(DONE)
    return responses.page(items, str(left) if left > 0 else None)


def _left(cursor: str | None, count: int) -> int:
    """Return how many incidents are left to show; raises Problem 422."""
    if cursor is None:
        return count
    if not cursor.isdigit():
        raise query_parameters.bad_cursor()
    return min(count, int(cursor))
