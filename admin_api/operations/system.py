"""State of the recorder: the node for operators, a customer's own calls and storage for its admins."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict, cast

from msgspec import Meta

from admin_api.http.authorised_request import AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.permissions import ADMIN, Action, Role
from admin_api.http.types import Count, Share, Time

_OPERATOR = (Role.OPERATOR,)
_COUNT = {"type": "integer", "minimum": 0}
_POINT = {"anyOf": [{"type": "string", "format": "date-time"}, _COUNT, _COUNT, {"type": "number", "minimum": 0}]}


class CustomerFigures(TypedDict):
    """Calls and storage of a customer."""

    calls_active: Count
    calls: Count
    size_bytes: Count
    history: list[Annotated[list[Time | Count], Meta(min_length=2)]]
    """Points of a curve: a time and the active calls."""


class Disk(TypedDict):
    """A file system that the recorder writes to."""

    use: Annotated[str, Meta(extra_json_schema={"enum": ["data", "runtime"]})]
    free_bytes: Count
    size_bytes: Count


class Worker(TypedDict):
    """A process that receives media."""

    number: Count
    busy: Share


class Certificate(TypedDict):
    """A certificate that the recorder shows."""

    use: Annotated[str, Meta(extra_json_schema={"enum": ["sip", "admin_api"]})]
    expires_at: Time | None


class NodeFigures(TypedDict):
    """State of the node."""

    ready: bool
    reason: str | None
    started_at: Time
    calls_active: Count
    max_calls: Count
    disks: list[Disk]
    workers: list[Worker]
    unindexed_seconds: Share
    certificates: list[Certificate]
    keys_backed_up_at: Time | None
    history: list[Annotated[list[Any], Meta(min_length=4, extra_json_schema={"items": _POINT})]]
    """Points of curves: a time, active calls, free bytes, and the share of the busiest worker."""


class System(TypedDict):
    """State of the recorder."""

    at: Time
    customer: CustomerFigures | None
    node: NodeFigures | None


@endpoint("GET", "/system", Action.SYSTEM, (*_OPERATOR, *ADMIN))
async def view(request: AuthorisedRequest) -> System:
    """State of the node, for operators; the customer's own calls and storage, for its admins.

    It never shows figures of another customer, only the node's totals to an operator.
    """
    admin, operator = (request.principal.role(roles) is not None for roles in (ADMIN, _OPERATOR))
    return cast("System", await request.daemon.system(request.customer.name if admin else None, node=operator))
