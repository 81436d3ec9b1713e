"""One call: facts, parties, time line, quality, audio, corrections, attachments and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from admin_api.calls import calls
from admin_api.http.permissions import Action
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.page.views.call_summary import quality, summary
from admin_api.page.views.timeline_svg import names, owners, owners_in_turn, picture

SOUNDS = ("wav", "flac", "opus", "mp3")
"""Formats for downloading a call, in addition to mkv (with pictures) and pcap (packets as received)."""
TABLES = ("xlsx", "csv", "json")
CONFIRM = 8
"""Digits of a call's id to type before it is erased, to make sure that it is the right call."""


@view("GET", "/calls/{id}", Action.VIEW)
async def one(request: PageRequest, id: str) -> Response:
    """Show a call; htmx gets the part that changes during the recording."""
    call = await calls.view(request.caller(f"call {id}"), id)
    parties = call.get("parties") or ()
    streams = [_stream(stream, parties) for stream in call.get("streams") or ()]
    kinds = {stream["media"] for stream in streams}
    return request.page(
        "call.html",
        block="now",
        call=call,
        row=summary(call),
        parties=parties,
        streams=streams,
        picture=picture(call),
        sounds=SOUNDS if "audio" in kinds else (),
        video="video" in kinds,
        tables=TABLES,
    )


def _stream(stream: Mapping[str, Any], parties: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add to a stream who speaks when, its quality and the share of lost packets."""
    turns = [{"from": begin, "to": end, "names": names(parties, who)} for begin, end, who in owners_in_turn(stream)]
    packets, lost = int(stream.get("packets") or 0), int(stream.get("lost") or 0)
    return {
        **stream,
        "media": str(stream.get("media") or ""),
        "speakers": names(parties, owners(stream)),
        "turns": turns if len(turns) > 1 else (),
        "lost_percent": 100 * lost / (packets + lost) if packets + lost else 0.0,
        "quality": quality(stream.get("mos")),
    }
