"""The waveform of a call: the loudness of each channel over its length, from a render worker, never stored.

A picture of speech is media: it needs the same roles and has its own action in the audit log. An hour takes less than
a second to render, so no copy is kept that an erasure would have to find.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from admin_api.calls.calls import OVER, find
from admin_api.http.authorised_request import AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import HEARERS, Action
from admin_api.http.ports import CannotRender, Rendered
from admin_api.http.types import Id, Share, Time
from storage.timestamps import rfc3339

FORM = "peaks"
"""The format to ask the daemon for."""
MAX_BYTES = 16 << 20  # 64 channels of 2,000 peaks and 500 gaps have 3 MB
REASONS = ("pause", "hold", "restart", "disk", "")


_Peak = Annotated[int, Meta(ge=0, le=1000)]


class Channel(TypedDict):
    """The loudness of one channel."""

    label: str
    peaks: Annotated[
        list[_Peak], Meta(description="Peaks of equal intervals of the call, in thousandths of full scale.")
    ]
    gaps: Annotated[list[list[Any]], Meta(description="[from, to, reason], seconds.")]


class Waveform(TypedDict):
    """The loudness of a call."""

    id: Id
    started_at: Time | None
    duration_s: Share
    channels: list[Channel]


@endpoint("GET", "/calls/{id}/waveform", Action.WAVEFORM, HEARERS, conflict=OVER)
async def view(request: AuthorisedRequest, id: str) -> Waveform:
    """Loudness of each channel over the length of a call, to draw a waveform."""
    row, _ = await find(request)
    rendered = await request.daemon.render(request.customer, row, FORM)
    try:
        return read(id, await asyncio.to_thread(_taken, rendered))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        unusable = Message("problem.no-waveform", "The render worker returned no usable result.")
        raise CannotRender(unusable, later=True) from None


def read(id: str, data: bytes) -> Waveform:
    """Parse and check all of the worker's output: it decodes untrusted media. Raises ValueError and the like."""
    told = json.loads(data)
    channels: list[Channel] = [
        {
            "label": str(each["label"])[:100],
            "peaks": [min(max(int(peak), 0), 1000) for peak in each["peaks"]],
            "gaps": [[_real(begin), _real(end), why if why in REASONS else ""] for begin, end, why in each["gaps"]],
        }
        for each in told["channels"]
    ]
    began = int(told["started_ns"])
    started = rfc3339(datetime.fromtimestamp(began / 1e9, UTC)) if began else None
    return {"id": id, "started_at": started, "duration_s": _real(told["seconds"]), "channels": channels}


def _real(value: Any) -> float:
    """Read a finite number; raises ValueError otherwise."""
    found = float(value)
    if not math.isfinite(found):
        raise ValueError
    return found


def _taken(rendered: Rendered) -> bytes:
    """Read a rendered file whole and close it."""
    try:
        if rendered.size > MAX_BYTES:
            raise ValueError
        return os.pread(rendered.descriptor, rendered.size, 0)
    finally:
        os.close(rendered.descriptor)
