"""How the recorder fares: the node for its operators, a customer's own calls and storage for the customer's admins."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http import responses
from admin_api.http.authorised_request import DONE, Asked
from admin_api.http.permissions import Role


async def view(asked: Asked) -> Response:
    """Answer GET /system; figures of other customers are in none, only the sums of the node that an operator sees."""
    asked.no_parameters()
    operator = asked.principal.role((Role.OPERATOR,)) is not None
    admin = asked.principal.role((Role.ADMIN,)) is not None
    await asked.note(DONE)
    return responses.document(await asked.desk.system(asked.customer.name if admin else None, node=operator))
