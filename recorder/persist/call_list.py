"""Calls as the command line lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from storage.calls.call_index import CallRow, Query
from storage.calls.call_row import MAX_LIMIT, CallState, Direction
from storage.customer.customers import Customer
from storage.timestamps import rfc3339


def item(customer: str, row: CallRow) -> dict[str, Any]:
    """Return a row as the command line shows a call."""
    return {"id": row.id, "customer": customer, **facts(row)}


def facts(row: CallRow) -> dict[str, Any]:
    """Return a row as the API shows a call."""
    return {
        "id": row.id,
        "state": row.state.value,
        "started_at": rfc3339(row.started_at),
        "ended_at": rfc3339(row.ended_at),
        "duration_ms": row.duration_ms,
        "size_bytes": row.size_bytes,
        "hold": row.hold,
        "erase_after": rfc3339(row.erase_after),
        **row.details,
    }


async def find(customer: Customer, asked: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    """Return at most `limit` calls of a customer, newest first."""
    state = CallState(asked["state"]) if asked["state"] else None
    direction = Direction(asked["direction"]) if asked.get("direction") else None
    wanted = Query(
        *(asked["party"], asked["since"], asked["until"], state),
        hold=asked.get("hold"),
        direction=direction,
        source=asked.get("source"),
    )
    out: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(out) < limit:
        query = replace(wanted, limit=min(MAX_LIMIT, limit - len(out)), cursor=cursor)
        page = await customer.calls.find(query)
        out += [item(customer.name, row) for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    return out
