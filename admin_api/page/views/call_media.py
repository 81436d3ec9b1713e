"""Answer with the media of a call: audio, waveform, attachments."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.in_process_api import answer_of
from admin_api.page.framework.page_request import PageRequest, View
from storage.ids import is_id


async def sound(request: PageRequest) -> Response:
    """Answer with the audio, or the range a player asks for; seeking is not audited as a new playback."""
    form = request.http.query_params.get("format", "wav")
    wanted = request.http.headers.get("range", "")
    further = bool(wanted) and not wanted.startswith("bytes=0-")
    answer = await request.api.stream(f"/calls/{request.path_id}/media", {"format": form}, again=further)
    if answer.status_code < 400 or request.http.headers.get("sec-fetch-mode") != "navigate":
        return answer
    page = request.refused(answer_of(answer))  # a person followed a link; a player's own request needs no page
    page.headers.update({name: value for name, value in answer.headers.items() if name == "retry-after"})
    return page


async def waveform(request: PageRequest) -> Response:
    """Answer with the loudness of each channel over the length of the call."""
    return await request.api.stream(f"/calls/{request.path_id}/waveform")


async def attachment(request: PageRequest) -> Response:
    """Answer with a transcript or chat as a download."""
    part = str(request.http.path_params["part"])
    return await request.api.stream(f"/calls/{request.path_id}/attachments/{part if is_id(part) else '-'}")


VIEWS = (
    View("GET", "/calls/{id}/media", sound, Action.PLAY),
    View("GET", "/calls/{id}/waveform", waveform, Action.WAVEFORM),
    View("GET", "/calls/{id}/attachments/{part}", attachment, Action.ATTACHMENT),
)
