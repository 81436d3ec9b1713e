"""From a stored call to a playable file: which parts, which streams; for the API and for `recorder export`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from media.codecs.decoders import Format
from recorder.exports.render_client import RenderFailed, RenderStream, undecoded
from recorder.exports.render_job import DAMAGED, INCOMPLETE
from recorder.runtime.tasks import start_awaited
from storage.calls.call_document import Stream
from storage.calls.call_index import CallRow, CallState
from storage.customer.customers import Customer
from storage.errors import DamagedPart, StoreAway
from storage.vault.vault import OpenPart, PartRef

AWAY = "the recording is in the object store, which does not answer"
LIVE_THERE = "the call is live on node {node}: play it there, or here once it is over"
NOT_YET_HERE = "node {node} recorded the call and has not uploaded all of it yet: play it there, or here in a moment"
NODE_AWAY = "node {node} recorded the call, has not uploaded it and is away: play it once that node is back"


def render_streams(streams: Sequence[Stream]) -> list[RenderStream]:
    """Return what a render worker must know of the streams of a call's document; its index is the stream's number."""
    return [
        RenderStream(number, str(stream["label"] or number + 1), _payloads(stream), stream["media"])
        for number, stream in enumerate(streams)
    ]


def _payloads(stream: Stream) -> dict[int, Format]:
    """Return the formats that were named; static payload types need no name (RFC 3551)."""
    return {
        f["pt"]: Format(f["encoding"], f["clock"] or 8000, f["channels"] or 1, f["fmtp"])
        for f in stream.get("formats", ())
        if f["encoding"]
    }


@asynccontextmanager
async def media_parts(customer: Customer, row: CallRow) -> AsyncIterator[list[OpenPart]]:
    """Open the media parts of a call in order; they are closed at the end, or when the call is erased.

    Raises RenderFailed if they are damaged, missing although something was stored, in an object store that is away, or
    on another node only, which it then names; Forgotten once the call is erased.
    """
    where = await _where(customer, row)
    async with customer.vault.in_use.reading(row.leaf):
        opened = await _fetched(customer, row, where) if customer.vault.remote else _opened(customer, row, where)
        try:
            yield opened
        finally:
            _close(opened)


@dataclass(frozen=True, slots=True)
class _Where:
    """Where media are if they are not all here."""

    there: str
    """Sentence for as long as the node that recorded them has more than the object store; "" if it has gone."""
    lost: str
    """Sentence if nothing of them is in the object store, "" if they are damaged then."""


_HERE = _Where("", "")


async def _where(customer: Customer, row: CallRow) -> _Where:
    """Return what to say of a call that another node has recorded, or is recording."""
    if customer.nodes is None or row.node == customer.keys.node:
        return _HERE
    node = await customer.nodes.of(row.node)
    if node is None:
        return _HERE
    if node.there:
        return _Where((LIVE_THERE if row.state is CallState.RECORDING else NOT_YET_HERE).format(node=node.name), "")
    return _Where("", NODE_AWAY.format(node=node.name) if not node.retired else "")


async def _fetched(customer: Customer, row: CallRow, where: _Where) -> list[OpenPart]:
    """Open the parts in a thread, since some may have to be fetched; close them there if nobody waits any more."""
    fetching = start_awaited(asyncio.to_thread(_opened, customer, row, where), "fetch-parts")
    try:
        return await asyncio.shield(fetching)
    except asyncio.CancelledError:
        fetching.add_done_callback(lambda done: None if done.exception() else _close(done.result()))
        raise


def _opened(customer: Customer, row: CallRow, where: _Where) -> list[OpenPart]:
    opened: list[OpenPart] = []
    try:
        found = customer.vault.readable(row.id, row.leaf)
        if where.there and (row.state is CallState.RECORDING or _size(customer, found) < row.size_bytes):
            raise RenderFailed(where.there)
        for ref in found:
            if ref.part.startswith("m"):
                opened.append(customer.vault.open(ref))
        if not opened and where.lost:
            raise RenderFailed(where.lost)
        if not opened and spoken(row):
            raise RenderFailed(DAMAGED, status=1)
    except DamagedPart:
        _close(opened)
        raise RenderFailed(DAMAGED, status=1) from None
    except StoreAway:
        _close(opened)
        raise RenderFailed(AWAY) from None
    except BaseException:
        _close(opened)
        raise
    return opened


def _close(opened: Sequence[OpenPart]) -> None:
    for part in opened:
        part.close()


def spoken(row: CallRow) -> bool:
    """Tell whether any received media of a finished call were stored."""
    return row.state is not CallState.RECORDING and any(s.get("packets") for s in row.details.get("streams") or ())


def lacks_files(customer: Customer, row: CallRow) -> bool:
    """Tell whether files of a finished call are missing: they are smaller than when it was indexed, or none has media.

    Attachments count, since a call indexed after a crash includes them in its size.
    """
    if row.state is CallState.RECORDING:
        return False
    found = customer.vault.readable(row.id, row.leaf)
    if _size(customer, found) < row.size_bytes:
        return True
    return spoken(row) and not any(ref.part.startswith("m") for ref in found)


def _size(customer: Customer, parts: Iterable[PartRef]) -> int:
    total = 0
    for ref in parts:
        with suppress(FileNotFoundError):  # finished, and so moved, or erased just now
            total += customer.vault.size_of(ref)
    return total


def caveat(customer: Customer, row: CallRow, report: Mapping[str, Any]) -> str | None:
    """Describe what is missing in a file of a call: missing parts, and encodings that cannot be decoded here."""
    gone = report.get("torn_parts") or lacks_files(customer, row)
    return " ".join(filter(None, (INCOMPLETE if gone else None, undecoded(report)))) or None
