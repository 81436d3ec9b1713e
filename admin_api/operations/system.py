"""State of the recorder: the node for operators, a customer's own calls and storage for its admins."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http import responses
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.permissions import Role


async def view(request: AuthorisedRequest) -> Response:
    """Answer GET /system; it never shows figures of another customer, only the node's totals to an operator."""
    request.no_parameters()
    operator = request.principal.role((Role.OPERATOR,)) is not None
    admin = request.principal.role((Role.ADMIN,)) is not None
    await request.note(DONE)
    return responses.document(await request.daemon.system(request.customer.name if admin else None, node=operator))
