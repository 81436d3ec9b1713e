"""Calls as the command line lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NotRequired, cast

from personal import Personal
from storage.calls.call_document import PlainDocument, revealed
from storage.calls.call_index import CallRow, Query
from storage.calls.call_row import MAX_LIMIT, CallState, Direction
from storage.customer.customers import Customer
from storage.nodes.present import Present, recorded_by


class Item(PlainDocument):
    """A call as the command line shows it."""

    customer: str
    """The call's customer."""
    node: NotRequired[str | None]
    """Where several nodes share the database: name of the one that recorded it, None if it is no longer known."""
    node_state: NotRequired[str | None]
    """State of that node."""


def item(customer: str, row: CallRow, nodes: Mapping[int, Present] | None = None) -> Item:
    """Return a row as the command line shows a call; `nodes`: those that share the database, if there are several."""
    shown = cast("Item", {"id": row.id, "customer": customer, **revealed(row.document())})
    return shown if nodes is None else {**shown, **recorded_by(row.node, nodes)}


async def find(customer: Customer, asked: Mapping[str, Any], limit: int) -> list[Item]:
    """Return at most `limit` calls of a customer, newest first."""
    state = CallState(asked["state"]) if asked["state"] else None
    direction = Direction(asked["direction"]) if asked.get("direction") else None
    party = None if asked["party"] is None else Personal(asked["party"])
    wanted = Query(
        *(party, asked["since"], asked["until"], state),
        hold=asked.get("hold"),
        direction=direction,
        source=asked.get("source"),
    )
    out: list[Item] = []
    nodes = None if customer.nodes is None else await customer.nodes.all()
    cursor: str | None = None
    while len(out) < limit:
        query = replace(wanted, limit=min(MAX_LIMIT, limit - len(out)), cursor=cursor)
        page = await customer.calls.find(query)
        out += [item(customer.name, row, nodes) for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    return out
