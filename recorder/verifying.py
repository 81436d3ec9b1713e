"""`recorder verify`: read and authenticate every part, and hold vault and index against each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.callrows import MAX_LIMIT, CallState
from storage.calls import Query
from storage.customers import Customer
from storage.errors import StorageError
from storage.vault import PartRef

GRACE_SECONDS = 5.0
"""A running daemon indexes a call within this: it lets a new one settle for two seconds first."""


@dataclass(slots=True)
class Report:
    """What was found for one customer."""

    calls: int = 0
    parts: int = 0
    bytes: int = 0
    defects: list[dict[str, Any]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)


async def verify_customer(customer: Customer, wanted: Collection[str], advance: Callable[[float], None]) -> Report:
    """Verify all calls of a customer, or the wanted ones; the daemon may be running."""
    report = Report()
    indexed = await _indexed(customer)
    stored: dict[str, None] = {}
    for ref in customer.vault.walk():
        if wanted and ref.call not in wanted:
            continue
        stored[ref.call] = None
        _part(customer, ref, report, live=indexed.get(ref.call, CallState.RECORDING) == CallState.RECORDING)
        advance(1)
    for call in indexed:
        if (not wanted or call in wanted) and call not in stored and await customer.calls.get(call) is not None:
            _defect(report, customer, call, "", "call without recording", 0)
    await _not_indexed(customer, [call for call in stored if call not in indexed], report)
    report.seen = {*stored, *(c for c in indexed if c in wanted)}
    report.calls = len(report.seen) if wanted else len({*stored, *indexed})
    return report


async def _not_indexed(customer: Customer, calls: Sequence[str], report: Report) -> None:
    """Name recordings that the index lacks; one that began just now is in it a moment later."""
    missing = [call for call in calls if await customer.calls.get(call) is None]
    if missing:
        await asyncio.sleep(GRACE_SECONDS)
    for call in missing:
        known = any(d["call"] == call for d in report.defects)
        if not known and await customer.calls.get(call) is None and customer_has(customer, call):
            _defect(report, customer, call, "", "recording that the index lacks", 0)


def customer_has(customer: Customer, call: str) -> bool:
    """Tell whether any part of a call is in the vault (still)."""
    return any(ref.call == call for ref in customer.vault.walk())


async def _indexed(customer: Customer) -> dict[str, CallState]:
    out: dict[str, CallState] = {}
    cursor: str | None = None
    while True:
        page = await customer.calls.find(Query(limit=MAX_LIMIT, cursor=cursor))
        out.update((row.id, row.state) for row in page.items)
        cursor = page.next_cursor
        if cursor is None:
            return out


def _part(customer: Customer, ref: PartRef, report: Report, *, live: bool) -> None:
    report.parts += 1
    try:
        report.bytes += ref.path.stat().st_size
        if not ref.finished:
            if not live:
                _defect(report, customer, ref.call, ref.part, "open but nobody writes it", 0)
            for _ in customer.vault.read(ref, live=True):
                continue
            return
        for defect in customer.vault.verify(ref):
            _defect(report, customer, ref.call, ref.part, defect.kind, defect.offset)
    except StorageError as error:
        _defect(report, customer, ref.call, ref.part, type(error).__name__.lower(), getattr(error, "offset", 0))
    except FileNotFoundError:
        return  # erased meanwhile


def _defect(report: Report, customer: Customer, call: str, part: str, kind: str, offset: int) -> None:
    report.defects.append({"customer": customer.name, "call": call, "part": part, "kind": kind, "offset": offset})
