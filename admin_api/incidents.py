"""Recordings that should exist but do not or are incomplete, and security events."""

from __future__ import annotations

from starlette.responses import Response

from admin_api import answers, schemas
from admin_api.errors import invalid
from admin_api.request import DONE, Asked

INCIDENTS = (schemas.LIMIT, schemas.CURSOR)


async def listed(asked: Asked) -> Response:
    """Answer GET /incidents: newest first.

    A cursor counts the incidents that are older than the page before, so new ones do not move it.
    """
    given = schemas.read(INCIDENTS, asked.http.query_params.multi_items())
    every = asked.desk.incidents(asked.customer.name)
    left = _left(given["cursor"], len(every))
    begin = len(every) - left
    items = every[begin : begin + given["limit"]]
    left -= len(items)
    await asked.note(DONE)
    return answers.page(items, str(left) if left > 0 else None)


def _left(cursor: str | None, count: int) -> int:
    """Return how many incidents are still to be shown; raises Problem 422."""
    if cursor is None:
        return count
    if not cursor.isdigit():
        raise invalid([{"in": "query", "name": "cursor", "reason": f"must be {schemas.CURSOR.right}"}])
    return min(count, int(cursor))
