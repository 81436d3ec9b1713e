"""From a stored call to a playable file: which parts, which streams; for the API and for `recorder export`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from media.codecs import Format
from recorder.rendering import RenderStream
from storage.customers import Customer
from storage.vault import OpenPart


def render_streams(streams: Sequence[Mapping[str, Any]]) -> list[RenderStream]:
    """Return what a render worker must know of the streams of a call's document; its index is the stream's number."""
    return [
        RenderStream(number, str(stream["label"] or number), _payloads(stream), stream["media"])
        for number, stream in enumerate(streams)
    ]


def _payloads(stream: Mapping[str, Any]) -> dict[int, Format]:
    """Return the formats that were named; static payload types need no name (RFC 3551)."""
    return {
        f["pt"]: Format(f["encoding"], f["clock"] or 8000, f["channels"] or 1, f["fmtp"])
        for f in stream.get("formats", ())
        if f["encoding"]
    }


@contextmanager
def media_parts(customer: Customer, call: str, leaf: int) -> Iterator[list[OpenPart]]:
    """Open the media parts of a call in order; they are closed at the end."""
    opened: list[OpenPart] = []
    try:
        for ref in customer.vault.parts(call, leaf):
            if ref.part.startswith("m"):
                opened.append(customer.vault.open(ref))
        yield opened
    finally:
        for part in opened:
            part.close()
