"""From a stored call to a playable file: which parts, which streams; for the API and for `recorder export`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from media.codecs.decoders import Format
from recorder.exports.render_client import RenderFailed, RenderStream, undecoded
from recorder.exports.render_job import DAMAGED, INCOMPLETE
from storage.calls.call_document import Stream
from storage.calls.call_index import CallRow, CallState
from storage.customer.customers import Customer
from storage.errors import DamagedPart
from storage.vault.vault import OpenPart


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


@contextmanager
def media_parts(customer: Customer, row: CallRow) -> Iterator[list[OpenPart]]:
    """Open the media parts of a call in order; they are closed at the end.

    Raises RenderFailed if they are damaged, or missing although something was stored.
    """
    opened: list[OpenPart] = []
    try:
        try:
            for ref in customer.vault.parts(row.id, row.leaf):
                if ref.part.startswith("m"):
                    opened.append(customer.vault.open(ref))
        except DamagedPart:
            raise RenderFailed(DAMAGED, status=1) from None
        if not opened and spoken(row):
            raise RenderFailed(DAMAGED, status=1)
        yield opened
    finally:
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
