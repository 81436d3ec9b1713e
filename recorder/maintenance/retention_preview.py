"""What the next sweep would erase, as commands show it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from storage.customer.customers import Customer
from storage.retention.decisions import Decided
from storage.timestamps import DAY_MICROS, micros_rfc3339, rfc3339


async def preview_retention(customer: Customer, now: datetime, percent: float) -> dict[str, Any]:
    """Return what a sweep at this time would erase at once (`items`), and what it would ask for first (`asks`)."""
    preview = await customer.retention.preview(now, percent)
    shown = [item(customer.name, due) for due in preview.due]
    return {
        "customer": customer.name,
        "at": rfc3339(now),
        "calls": preview.total,
        "brake": preview.asks,
        "items": [] if preview.asks else shown,
        "asks": shown if preview.asks else [],
    }


def item(customer: str, due: Decided) -> dict[str, Any]:
    """Return one call that is due, and why."""
    days = (due.until - due.ended) // DAY_MICROS
    return {
        "id": due.id,
        "customer": customer,
        "rule": due.rule,
        "ended_at": micros_rfc3339(due.ended),
        "erase_after": micros_rfc3339(due.until),
        "why": f"{'default' if due.rule is None else f'rule {due.rule}'}: kept {days} days from its end",
    }
