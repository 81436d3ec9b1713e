"""The audit log, for auditors only."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from admin_api import answers, schemas
from admin_api.errors import invalid
from admin_api.request import DONE, Asked
from storage.audit_chain import AuditError

AUDIT = (schemas.SINCE, schemas.LIMIT, schemas.CURSOR)


async def listed(asked: Asked) -> Response:
    """Answer GET /audit: entries, newest first; looking at it is an entry too."""
    given = schemas.read(AUDIT, asked.http.query_params.multi_items())
    try:
        page = await asyncio.to_thread(asked.customer.audit.read, given["since"], given["cursor"], given["limit"])
    except AuditError:
        if given["cursor"] is None:
            raise
        raise invalid([{"in": "query", "name": "cursor", "reason": f"must be {schemas.CURSOR.right}"}]) from None
    await asked.note(DONE)
    return answers.page(page.items, page.next_cursor)
