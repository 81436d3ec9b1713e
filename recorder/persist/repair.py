"""After a crash: repair the parts, rebuild the documents, index them.

`serve` does it at its start, `recorder recover` on request.

A recording can be understood from its parts alone: the newest CALL record of its control parts is its document, and the
media parts give the figures. Its end is the last moment at which anything was received.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from media.records import record_format
from media.records.summary import Summary
from recorder.persist.control_part import ControlPart
from recorder.session.commands import Kept
from recorder.session.document_builder import encode_call, from_ns
from recorder.session.index_row import forms_of, parse_time, row_of
from storage.calls.call_document import CallDocument, Stream, wrapped
from storage.customer.customers import Customer
from storage.errors import DamagedPart, DiskFailed, Forgotten, StorageError, StoreAway
from storage.retention.policy import with_erase_after
from storage.timestamps import rfc3339


@dataclass(frozen=True, slots=True)
class Found:
    """One recording that a crash left behind."""

    call: str
    leaf: int
    document: CallDocument | None  # None: nothing readable was left
    repaired: int  # parts that had to be cut or sealed


def left_behind(customer: Customer, living: Iterable[str]) -> list[tuple[str, int]]:
    """Return (call, leaf) of recordings with open parts that nobody writes any more."""
    alive = set(living)
    found = {(ref.call, ref.leaf) for ref in customer.vault.left_open() if ref.call not in alive}
    return sorted(found, key=lambda x: x[1])


def repair(customer: Customer, call: str, leaf: int, known: CallDocument | None = None) -> Found:
    """Seal the open parts of a recording and rebuild its document; safe to repeat and to be killed in.

    `known` is the last document if somebody still has it: it is stored in a control part of its own, and nothing is
    rebuilt. A recording that was never accepted, because nothing says what it is and it has no media, is removed.
    Raises StorageError or NotPossible if the disk refuses for now.
    """
    repaired = 0
    for ref in customer.vault.parts(call, leaf):
        if not ref.finished:
            customer.vault.recover(ref)
            repaired += 1
    if known is not None:
        document: CallDocument | None = known.copy()
        _keep(customer, call, leaf, known)
    else:
        found = content(customer, call, leaf)
        document = found.document
        if found.empty:  # no INVITE is answered before its document is written
            customer.vault.remove(call, leaf)
    for ref in customer.vault.parts(call, leaf):
        if not ref.finished:
            customer.vault.finish(ref.call, ref.leaf, ref.part)
    if document is not None:
        own = [ref.part for ref in customer.vault.parts(call, leaf) if not ref.part.startswith("a")]
        document["size_bytes"] = customer.vault.size(call, leaf, own)  # as when it ended: without later attachments
    return Found(call, leaf, document, repaired)


def take_back(customer: Customer, call: str, leaf: int) -> Found:
    """Remove a recording whose INVITE was refused, whatever its files say. Raises StorageError."""
    customer.vault.remove(call, leaf)
    return Found(call, leaf, None, 0)


def _keep(customer: Customer, call: str, leaf: int, document: CallDocument) -> None:
    """Write a document to a control part after the existing ones."""
    number = sum(1 for ref in customer.vault.parts(call, leaf) if ref.part.startswith("c")) + 1
    while customer.vault.find(call, leaf, f"c{number}"):
        number += 1
    new = customer.vault.create(call, leaf, f"c{number}")
    part = ControlPart(f"c{number}", new.secret, new.fd)
    try:
        part.keep(Kept.CALL, encode_call(document))
        part.finish()
    finally:
        part.abandon()


@dataclass(frozen=True, slots=True)
class Content:
    """The contents of a recording's parts."""

    document: CallDocument | None
    empty: bool  # every part can be read, and there is neither a document nor a packet in any


def content(customer: Customer, call: str, leaf: int) -> Content:
    """Return what the parts of a recording hold; raises DiskFailed or StoreAway."""
    document: CallDocument | None = None
    failed: DiskFailed | None = None
    summary, whole = Summary(), True
    for ref in customer.vault.parts(call, leaf):
        try:
            for record in record_format.read(customer.vault.read(ref, live=True)):
                if isinstance(record, record_format.Other) and record.kind == Kept.CALL:
                    document = wrapped(json.loads(record.body))
                else:
                    summary.add(record)
        except (StorageError, ValueError) as problem:
            if isinstance(problem, StoreAway):
                raise  # parts that are not here would be taken for lost
            whole = False  # whatever can be read is used; verify names the defect
            failed = problem if isinstance(problem, DiskFailed) else failed
    if document is None and failed is not None:
        raise failed  # it may be readable in a moment, and a recording that is given up would never be found again
    if document is None:
        return Content(None, whole and summary.last_ns() is None)
    if document["state"] == "recording":
        _end(document, summary)
    return Content(document, False)


def _end(document: CallDocument, summary: Summary) -> None:
    """Turn the document of a live call into one of an interrupted call."""
    last = summary.last_ns()
    started = parse_time(document["started_at"])
    document["state"], document["end_reason"] = "interrupted", "crash"
    document["ended_at"] = from_ns(last) if last else document["started_at"]
    ended = parse_time(document["ended_at"])
    if started and ended:
        known = timedelta(milliseconds=document.get("duration_ms") or 0)
        later = parse_time(document.get("kept_from"))  # as of when the document was written
        if later is not None:
            document["kept_from"] = rfc3339(later + max(timedelta(0), ended - started - known))
        elif ended < started:  # the clock was set back while it ran
            document["kept_from"] = rfc3339(started + known)
        document["duration_ms"] = round(max(known, ended - started).total_seconds() * 1000)
    for number, stream in enumerate(document["streams"]):
        _end_stream(stream, summary.figures(number), document["ended_at"])
    for party in document["parties"]:
        party["left_at"] = party["left_at"] or document["ended_at"]


def _end_stream(stream: Stream, counted: Mapping[str, Any], end: str | None) -> None:
    """Take what the parts say; figures that only the worker's counters had stay as they were last known."""
    stream["packets"], stream["lost"] = counted["packets"], counted["lost"]
    stream["gap_ms"] = max(counted["gap_ms"], stream.get("gap_ms", 0))
    stream["pauses"] = [[begin, until or end] for begin, until in stream.get("pauses", ())]


async def recover(
    customer: Customer, living: Iterable[str], report: Callable[[Found], None], refused: Container[str] = ()
) -> int:
    """Repair and index everything that a crash left for one customer; return the number of recordings.

    Unlike a start, it also looks for finished recordings that the index lacks. Raises StorageError; for a recording
    that cannot be read, only after all others are done.
    """
    alive = set(living)
    left = dict.fromkeys(left_behind(customer, alive))
    left.update(dict.fromkeys(await customer.calls.unfinished()))
    for ref in customer.vault.walk():
        if (ref.call, ref.leaf) not in left and await customer.calls.get(ref.call) is None:
            left[(ref.call, ref.leaf)] = None
    count = 0
    failed: StorageError | None = None
    for call, leaf in left:
        if call in alive:
            continue
        try:
            found = (take_back if call in refused else repair)(customer, call, leaf)
        except Forgotten:
            continue  # erased: nothing of it may be kept
        except (DamagedPart, DiskFailed) as problem:
            failed = problem
            continue
        if found.document is not None:
            await index(customer, leaf, found.document)
        count += 1
        report(found)
    if failed is not None:
        raise failed
    customer.gap.close()
    return count


async def index(customer: Customer, leaf: int, document: CallDocument) -> None:
    """Write a rebuilt document to the database."""
    row, forms = customer.user_matcher.applied(row_of(document, leaf), forms_of(document, customer.settings.country))
    await customer.calls.put([with_erase_after(row, forms, await customer.rules.policy())], [forms])
