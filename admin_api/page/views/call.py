"""Show one call: facts, parties, time line, quality, audio, corrections, attachments and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import Answer
from admin_api.page.framework.page_request import PageRequest, View
from admin_api.page.views.call_summary import quality, summary
from admin_api.page.views.timeline_svg import named, owners, owners_in_turn, picture

SOUNDS = ("wav", "flac", "opus", "mp3")
"""Formats that a call can be downloaded in besides mkv (with pictures) and pcap (packets as they came)."""
TABLES = ("xlsx", "csv", "json")
MAYBE = ("paused", "ended_at", "direction", "source", "hold_reason", "held_since", "held_by")
"""Members of a call's document that not every call has."""
CONFIRM = 8
"""Digits of a call's id to type before it is erased, to make sure that it is the right call."""


async def one(request: PageRequest) -> Response:
    """Show a call; htmx gets the part that changes during the recording."""
    found = await request.api.get(f"/calls/{request.path_id}", again=request.from_htmx)
    if request.from_htmx:
        if not found.well:  # if it was erased meanwhile, a reload says so; otherwise the shown data may be old
            return Response(None, found.status, {"HX-Refresh": "true"} if found.status == 404 else None)
        return request.part("call.html", "now", **_values(found.document), problem=None)
    return await shown(request, found=found)


async def shown(request: PageRequest, problem: Answer | None = None, found: Answer | None = None) -> Response:
    """Show a call, with a refusal of the API above it."""
    found = found or await request.api.get(f"/calls/{request.path_id}")
    if not found.well:
        return request.refused(found)
    values = _values(found.document)
    told = problem.document if problem else None
    return request.page("call.html", status=problem.status if problem else 200, problem=told, **values)


def _values(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template shows of a call's document."""
    parties = [_party(party) for party in call.get("parties") or ()]
    streams = [_stream(stream, parties) for stream in call.get("streams") or ()]
    kinds = {stream["media"] for stream in streams}
    return {
        "call": {**dict.fromkeys(MAYBE), **call},
        "row": summary(call),
        "parties": parties,
        "streams": streams,
        "picture": picture(call),
        "sounds": SOUNDS if "audio" in kinds else (),
        "video": "video" in kinds,
        "tables": TABLES,
        "notes": call.get("annotations") or (),
        "attachments": call.get("attachments") or (),
        "recordings": call.get("recordings") or (),
    }


def _party(party: Mapping[str, Any]) -> dict[str, Any]:
    role = str(party.get("role") or "participant")
    fields = ("name", "number", "uri", "user_id", "joined_at", "left_at")
    return {
        **{name: party.get(name) for name in fields},
        "role": role,
        "shown": named(party),
        "candidates": party.get("user_candidates") or (),
    }


def _stream(stream: Mapping[str, Any], parties: list[dict[str, Any]]) -> dict[str, Any]:
    fields = (
        *("label", "codec", "decodable", "srtp"),
        *("packets", "lost", "duplicates", "rejected", "gap_ms", "jitter_ms", "mos"),
    )

    def names(numbers: Sequence[int]) -> list[str]:
        shown = [parties[number]["shown"] for number in numbers if 0 <= number < len(parties)]
        return [each for each in shown if each]

    turns = [{"from": begin, "to": end, "names": names(who)} for begin, end, who in owners_in_turn(stream)]
    packets, lost = int(stream.get("packets") or 0), int(stream.get("lost") or 0)
    return {
        **{name: stream.get(name) for name in fields},
        "media": str(stream.get("media") or ""),
        "speakers": names(owners(stream)),
        "turns": turns if len(turns) > 1 else (),
        "gaps": len(stream.get("gaps") or ()),
        "lost_percent": 100 * lost / (packets + lost) if packets + lost else 0.0,
        "quality": quality(stream.get("mos")),
    }


VIEWS = (View("GET", "/calls/{id}", one, Action.VIEW),)
