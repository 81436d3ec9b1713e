"""What can be heard or fetched of a call: sound, the picture of it, attachments."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http.permissions import Action, is_id
from admin_api.page.framework.in_process_api import heard
from admin_api.page.framework.page_request import View, Visit


async def sound(visit: Visit) -> Response:
    """Hand out the sound, or the range of it that a player asks for; going on somewhere else is no new listening."""
    form = visit.request.query_params.get("format", "wav")
    wanted = visit.request.headers.get("range", "")
    further = bool(wanted) and not wanted.startswith("bytes=0-")
    answer = await visit.api.stream(f"/calls/{visit.path_id}/media", {"format": form}, again=further)
    if answer.status_code < 400 or visit.request.headers.get("sec-fetch-mode") != "navigate":
        return answer
    page = visit.refused(heard(answer))  # somebody followed a link to it; the player asks by itself and wants no page
    page.headers.update({name: value for name, value in answer.headers.items() if name == "retry-after"})
    return page


async def waveform(visit: Visit) -> Response:
    """Hand out how loud each channel is over the length of the call."""
    return await visit.api.stream(f"/calls/{visit.path_id}/waveform")


async def attachment(visit: Visit) -> Response:
    """Hand out a transcript or chat, to be saved."""
    part = str(visit.request.path_params["part"])
    return await visit.api.stream(f"/calls/{visit.path_id}/attachments/{part if is_id(part) else '-'}")


VIEWS = (
    View("GET", "/calls/{id}/media", sound, Action.PLAY),
    View("GET", "/calls/{id}/waveform", waveform, Action.WAVEFORM),
    View("GET", "/calls/{id}/attachments/{part}", attachment, Action.ATTACHMENT),
)
