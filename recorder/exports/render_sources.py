"""From a stored call to a playable file: which parts, which streams; for the API and for `recorder export`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from media.codecs.decoders import Format
from recorder.exports.render_client import RenderFailed, RenderStream, undecoded
from recorder.exports.render_job import DAMAGED, INCOMPLETE
from storage.calls.call_document import Stream
from storage.calls.call_index import CallRow, CallState
from storage.customer.customers import Customer
from storage.errors import DamagedPart, StoreAway
from storage.vault.vault import OpenPart

AWAY = "the recording is in the object store, which does not answer"


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
    """Open the media parts of a call in order; they are closed at the end.

    Raises RenderFailed if they are damaged, missing although something was stored, or in an object store that is away.
    """
    opened = await _fetched(customer, row) if customer.vault.remote else _opened(customer, row)
    try:
        yield opened
    finally:
        _close(opened)


async def _fetched(customer: Customer, row: CallRow) -> list[OpenPart]:
    """Open the parts in a thread, since some may have to be fetched; close them there if nobody waits any more."""
    fetching = asyncio.ensure_future(asyncio.to_thread(_opened, customer, row))
    try:
        return await asyncio.shield(fetching)
    except asyncio.CancelledError:
        fetching.add_done_callback(lambda done: None if done.exception() else _close(done.result()))
        raise


def _opened(customer: Customer, row: CallRow) -> list[OpenPart]:
    opened: list[OpenPart] = []
    try:
        for ref in customer.vault.parts(row.id, row.leaf):
            if ref.part.startswith("m"):
                opened.append(customer.vault.open(ref))
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
    if customer.vault.size(row.id, row.leaf) < row.size_bytes:
        return True
    return spoken(row) and not any(ref.part.startswith("m") for ref in customer.vault.parts(row.id, row.leaf))


def caveat(customer: Customer, row: CallRow, report: Mapping[str, Any]) -> str | None:
    """Describe what is missing in a file of a call: missing parts, and encodings that cannot be decoded here."""
    gone = report.get("torn_parts") or lacks_files(customer, row)
    return " ".join(filter(None, (INCOMPLETE if gone else None, undecoded(report)))) or None
