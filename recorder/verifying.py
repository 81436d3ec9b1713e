"""`recorder verify`: read and authenticate every part, and hold vault and index against each other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from storage.callrows import MAX_LIMIT, CallState
from storage.calls import Query
from storage.customers import Customer
from storage.errors import StorageError
from storage.vault import PartRef


@dataclass(slots=True)
class Report:
    """What was found for one customer."""

    calls: int = 0
    parts: int = 0
    bytes: int = 0
    defects: list[dict[str, Any]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)


async def verify_customer(customer: Customer, wanted: Collection[str], advance: Callable[[float], None]) -> Report:
    """Verify all calls of a customer, or the wanted ones."""
    report = Report()
    indexed = await _indexed(customer)
    stored: set[str] = set()
    for ref in customer.vault.walk():
        if wanted and ref.call not in wanted:
            continue
        stored.add(ref.call)
        _part(customer, ref, report, live=indexed.get(ref.call) == CallState.RECORDING)
        advance(1)
    for call, state in indexed.items():
        if (not wanted or call in wanted) and call not in stored:
            _defect(report, customer, call, "", "call without recording", 0)
    for call in stored - set(indexed):
        if not any(d["call"] == call for d in report.defects):
            _defect(report, customer, call, "", "recording that the index lacks", 0)
    report.seen = stored | {c for c in indexed if c in wanted}
    report.calls = len(report.seen) if wanted else len(stored | set(indexed))
    return report


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
