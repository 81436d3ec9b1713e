"""`recorder verify`: read and authenticate every part; compare vault, object store, index, journal and audit log."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from recorder.exports.render_sources import has_media, lacks_files
from storage.audit.audit_files import LOG_NAME as AUDIT
from storage.calls.call_index import Query
from storage.calls.call_row import MAX_LIMIT, BadDetails, CallState
from storage.customer.customers import Customer
from storage.database.database import DatabaseDamaged
from storage.errors import OnOtherNode, SealBroken, StorageError, StoreAway
from storage.journal.journal import FILE_NAME as PAPERS
from storage.journal.replay import differences
from storage.keys.cut_log import LedgerDamaged
from storage.vault.vault import PartRef

GRACE_SECONDS = 5.0
"""A running daemon indexes a call within this time: it delays a new one by two seconds."""

UNREADABLE = "row of the index that does not open"

MISSING_OBJECT = "the object store lacks it"

UNKNOWN_OBJECT = "object that belongs to no part"

LACKING = "less is there than the index says: a file is missing or cut"


@dataclass(slots=True)
class Known:
    """What the index says about a call."""

    state: CallState
    size: int  # bytes of its files
    has_media: bool  # so it has media files
    node: int = 0  # number of the node that recorded it


@dataclass(slots=True)
class Stored:
    """What was found for a call in the vault."""

    size: int = 0
    media: bool = False


@dataclass(slots=True)
class Report:
    """What was found for one customer."""

    calls: int = 0
    parts: int = 0
    bytes: int = 0
    defects: list[dict[str, Any]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    unreadable: int = 0  # rows of the index that do not open
    elsewhere: list[dict[str, Any]] = field(default_factory=list)
    """What only other nodes have so far and must verify: call, part if it is an attachment, and node."""


async def verify_customer(
    customer: Customer, wanted: Collection[str], advance: Callable[[float], None], sample: int | None = None
) -> Report:
    """Verify all calls of a customer, or the selected ones; the daemon may be running.

    `sample`: of how many parts, chosen at random, every byte is read; None: of all. Raises StoreAway.
    """
    report = Report()
    indexed = await _indexed(customer, report)
    stored: dict[str, Stored] = {}
    objects = await asyncio.to_thread(_objects, customer, wanted, report) if customer.vault.remote else _Objects()
    lost = objects.lost
    chosen = None if sample is None else _sample(customer, wanted, sample, objects)
    for ref in chain(customer.vault.walk(), objects.of_others):
        if wanted and ref.call not in wanted:
            continue
        state = indexed[ref.call].state if ref.call in indexed else CallState.RECORDING
        met = stored.setdefault(ref.call, Stored())
        if ref.path.name in lost or (chosen is not None and ref.path.name not in chosen):
            met.size += _size(customer, ref)
        else:
            live = state is CallState.RECORDING
            if customer.vault.remote:
                met.size += await asyncio.to_thread(_part, customer, ref, report, live=live)
            else:  # a thread for each part would take as long as reading a short one
                met.size += _part(customer, ref, report, live=live)
        met.media = met.media or ref.part.startswith("m")
        advance(1)
    for call, known in indexed.items():
        if wanted and call not in wanted:
            continue
        found = stored.get(call)
        if await _is_only_elsewhere(customer, call, known, found, report):
            continue
        if found is None and await _has_row(customer, call, report):
            _defect(report, customer, call, "", "call without recording", 0)
        elif found is not None and (found.size < known.size or (known.has_media and not found.media)):
            await _lacking(customer, call, report)
    await _not_indexed(customer, [call for call in stored if call not in indexed], report)
    await _attachments(customer, wanted, report, objects)
    if not wanted:
        _unreadable(customer, report)
        await _journal(customer, report)
        await _audit(customer, report)
    report.seen = {*stored, *(c for c in indexed if c in wanted)}
    report.calls = len(report.seen) if wanted else len({*stored, *indexed})
    return report


def refused(customer: str, problem: StorageError) -> Report:
    """Report a customer whose database, journal or cut log is damaged or belongs to another; raise for other errors."""
    if not isinstance(problem, DatabaseDamaged | SealBroken | LedgerDamaged):
        raise problem
    defect = {"customer": customer, "call": "", "part": "", "kind": str(problem), "offset": 0}
    return Report(defects=[defect])


@dataclass(slots=True)
class _Objects:
    """What the object store has."""

    lost: set[str] = field(default_factory=set)
    """Files of parts that only the store had, and which it lacks."""
    of_others: list[PartRef] = field(default_factory=list)
    """Parts that other nodes stored."""


async def _is_only_elsewhere(customer: Customer, call: str, known: Known, found: Stored | None, report: Report) -> bool:
    """Return whether another node may have more of a call than the object store; if so, note that in the report."""
    if customer.nodes is None or known.node == customer.keys.node:
        return False
    node = await customer.nodes.of(known.node)
    whole = found is not None and found.size >= known.size and (found.media or not known.has_media)
    if node is None or node.retired or (whole and known.state is not CallState.RECORDING):
        return False
    row = await customer.calls.get(call)
    if row is not None and (row.state is CallState.RECORDING or await asyncio.to_thread(lacks_files, customer, row)):
        report.elsewhere.append({"customer": customer.name, "call": call, "part": "", "node": node.name})
    return True


def _sample(customer: Customer, wanted: Collection[str], sample: int, objects: _Objects) -> set[str]:
    """Choose parts at random, each as likely as any other, without holding the names of all."""
    chosen: list[str] = []
    every = chain(customer.vault.walk(), objects.of_others)
    for number, ref in enumerate(ref for ref in every if not wanted or ref.call in wanted):
        if len(chosen) < sample:
            chosen.append(ref.path.name)
        elif (at := secrets.randbelow(number + 1)) < sample:
            chosen[at] = ref.path.name
    return set(chosen)


def _objects(customer: Customer, wanted: Collection[str], report: Report) -> _Objects:
    """Compare the vault with the names and sizes of the object store."""
    from storage.vault.object_compare import compare
    from storage.vault.object_vault import ObjectVault

    if not isinstance(customer.vault, ObjectVault):
        return _Objects()
    found = compare(customer.vault)
    objects = _Objects()
    for ref, here in found.missing:
        if not wanted or ref.call in wanted:
            _defect(report, customer, ref.call, ref.part, MISSING_OBJECT, 0)
            if not here:
                objects.lost.add(ref.path.name)
    for each, size in found.unknown:
        if wanted and each.call not in wanted:
            continue
        if customer.several and customer.keys.keeps(each.leaf):
            objects.of_others.append(customer.vault.stored_ref(each, size))
        else:
            _defect(report, customer, each.call, each.part, UNKNOWN_OBJECT, 0)
    return objects


async def _not_indexed(customer: Customer, calls: Sequence[str], report: Report) -> None:
    """Report recordings that the index lacks; one that just started is indexed a moment later."""
    missing = [call for call in calls if not await _has_row(customer, call, report)]
    if missing:
        await asyncio.sleep(GRACE_SECONDS)
    for call in missing:
        known = any(d["call"] == call for d in report.defects)
        if not known and not await _has_row(customer, call, report) and await _is_there(customer, call):
            _defect(report, customer, call, "", "recording that the index lacks", 0)


async def _lacking(customer: Customer, call: str, report: Report) -> None:
    """Report a call with fewer files than the index has, if they are still missing."""
    if await _has_row(customer, call, report):
        row = await customer.calls.get(call)
        if row is not None and lacks_files(customer, row):
            _defect(report, customer, call, "", LACKING, 0)


async def _is_there(customer: Customer, call: str) -> bool:
    """Return whether any part of a call is (still) in the vault, or in the object store if other nodes use it too."""
    if customer_has(customer, call):
        return True
    if not customer.several or not customer.vault.remote:
        return False
    return any(ref.call == call for ref in (await asyncio.to_thread(_objects, customer, [call], Report())).of_others)


def customer_has(customer: Customer, call: str) -> bool:
    """Return whether any part of a call is (still) in the vault."""
    return any(ref.call == call for ref in customer.vault.walk())


async def _has_row(customer: Customer, call: str, report: Report) -> bool:
    """Return whether the index has a call; a row that does not open counts, and is a defect."""
    try:
        return await customer.calls.get(call) is not None
    except (SealBroken, BadDetails):
        if not any(d["call"] == call for d in report.defects):
            _defect(report, customer, call, "", UNREADABLE, 0)
        return True


async def _attachments(customer: Customer, wanted: Collection[str], report: Report, objects: _Objects) -> None:
    try:
        found = await customer.attachments.every()
    except SealBroken:
        _defect(report, customer, "", "", "a row of an attachment that does not open", 0)
        return
    known = {(ref.call, ref.part) for ref in objects.of_others}
    for each in found:
        if (wanted and each.call not in wanted) or (each.call, each.part) in known:
            continue
        try:
            there = await asyncio.to_thread(customer.vault.attachment, each.call, each.leaf, each.part)
        except OnOtherNode as problem:
            node = await customer.nodes.of(problem.node) if customer.nodes else None
            if node is not None and not node.retired:
                missing_part = {"customer": customer.name, "call": each.call, "part": each.part, "node": node.name}
                report.elsewhere.append(missing_part)
                continue
            there = None
        if there is None:
            _defect(report, customer, each.call, each.part, "attachment without its part", 0)


async def _journal(customer: Customer, report: Report) -> None:
    """Compare the data that only the database has with its journal; a change between two reads is no difference."""
    for last in (False, True):
        try:
            found = await differences(customer.journal, customer.database)
        except SealBroken:
            _defect(report, customer, "", PAPERS, "a line that does not open", 0)
            return
        if not found or last:
            break
        await asyncio.sleep(GRACE_SECONDS)
    for table, count in found.items():
        _defect(report, customer, "", PAPERS, f"{count} rows of {table} differ from the database", 0)


async def _audit(customer: Customer, report: Report) -> None:
    verdict = await asyncio.to_thread(customer.audit.verify)
    if not verdict.good:
        entry = "" if verdict.bad is None else f"entry {verdict.bad} "
        _defect(report, customer, "", AUDIT, f"{entry}{verdict.fault}", 0)


async def _indexed(customer: Customer, report: Report) -> dict[str, Known]:
    out: dict[str, Known] = {}
    cursor: str | None = None
    unreadable = 0
    while True:
        page = await customer.calls.find(Query(limit=MAX_LIMIT, cursor=cursor))
        out.update((row.id, Known(row.state, row.size_bytes, has_media(row), row.node)) for row in page.items)
        unreadable += page.unreadable
        cursor = page.next_cursor
        if cursor is None:
            break
    report.unreadable = unreadable
    return out


def _unreadable(customer: Customer, report: Report) -> None:
    """Report rows that do not open and have no recording that would identify them."""
    left = report.unreadable - sum(d["kind"] == UNREADABLE for d in report.defects)
    if left > 0:
        _defect(report, customer, "", "", f"{left} rows of the index that do not open", 0)


def _size(customer: Customer, ref: PartRef) -> int:
    try:
        return customer.vault.size_of(ref)
    except FileNotFoundError:
        return 0  # erased, or moved, meanwhile


def _part(customer: Customer, ref: PartRef, report: Report, *, live: bool) -> int:
    """Read a part, report its defects, and return its bytes."""
    report.parts += 1
    size = 0
    try:
        size = customer.vault.size_of(ref)
        report.bytes += size
        if not ref.finished:
            if not live:
                _defect(report, customer, ref.call, ref.part, "open but nobody writes it", 0)
            for _ in customer.vault.read(ref, live=True):
                continue
            return size
        for defect in customer.vault.verify(ref):
            _defect(report, customer, ref.call, ref.part, defect.kind, defect.offset)
    except StoreAway:
        raise
    except StorageError as error:
        _defect(report, customer, ref.call, ref.part, type(error).__name__.lower(), getattr(error, "offset", 0))
    except FileNotFoundError:
        pass  # erased meanwhile
    return size


def _defect(report: Report, customer: Customer, call: str, part: str, kind: str, offset: int) -> None:
    report.defects.append({"customer": customer.name, "call": call, "part": part, "kind": kind, "offset": offset})
