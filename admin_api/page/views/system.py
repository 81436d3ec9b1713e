"""The state of the recorder: the node for operators, the customer's own calls and storage for admins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.operations import system
from admin_api.operations.system import Disk, NodeFigures
from admin_api.page.framework.page_request import PageRequest, view

WARN_DAYS = 30
"""Days before expiry from which a certificate is highlighted."""
BACKUP_DAYS = 30
"""Days after which a backup of the keys is old."""
LITTLE_ROOM = 10
"""Percent free, below which a disk is highlighted."""


@view("GET", "/system", Action.SYSTEM, menu="system")
async def show(request: PageRequest) -> Response:
    """Show the figures; a refresh gets only the current part."""
    known = await system.view(request.caller("system"))
    node = known["node"]
    judged = node and {**node, **_judged(node, datetime.fromisoformat(known["at"]))}
    return request.page("system.html", block="now", at=known["at"], customer=known["customer"], node=judged)


def _judged(node: NodeFigures, now: datetime) -> dict[str, Any]:
    """Add computed figures: percent of disks, days left of certificates, age of the keys' backup."""
    return {
        "disks": [{**disk, **_room(disk)} for disk in node["disks"]],
        "certificates": [{**one, **_age(one["expires_at"], now)} for one in node["certificates"]],
        "backup_old": _old(node["keys_backed_up_at"], now),
        "plots": _plots(node["history"]),
    }


def _room(disk: Disk) -> dict[str, Any]:
    free = round(100 * disk["free_bytes"] / disk["size_bytes"]) if disk["size_bytes"] else 0
    return {"used_percent": 100 - free, "little": free < LITTLE_ROOM}


def _age(expires_at: str | None, now: datetime) -> dict[str, Any]:
    if expires_at is None:
        return {"days": None, "soon": True}
    days = (datetime.fromisoformat(expires_at) - now).days
    return {"days": days, "soon": days < WARN_DAYS}


def _old(at: str | None, now: datetime) -> bool:
    return at is None or (now - datetime.fromisoformat(at)).days >= BACKUP_DAYS


def _plots(history: Sequence[Sequence[Any]]) -> list[tuple[str, str, list[tuple[str, Any]]]]:
    """Return name, unit and points of each plot."""
    return [
        ("calls", "", [(at, calls) for at, calls, _, _ in history]),
        ("free", "GB", [(at, round(free / 1e9, 2)) for at, _, free, _ in history]),
        ("busy", "%", [(at, round(100 * busy, 1)) for at, _, _, busy in history]),
    ]
