"""How the recorder fares: the node for its operators, a customer's own calls and storage for the customer's admins."""

from __future__ import annotations

from starlette.responses import Response

from admin_api import answers, schemas
from admin_api.request import DONE, Asked
from admin_api.roles import Role


async def view(asked: Asked) -> Response:
    """Answer GET /system; figures of other customers are in none, only the sums of the node that an operator sees."""
    schemas.read((), asked.http.query_params.multi_items())
    operator = asked.principal.role((Role.OPERATOR,)) is not None
    admin = asked.principal.role((Role.ADMIN,)) is not None
    await asked.note(DONE)
    return answers.document(await asked.desk.system(asked.customer.name if admin else None, node=operator))
