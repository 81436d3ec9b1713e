"""Answer with the media of a call: audio, waveform, attachments."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.http import responses
from admin_api.http.permissions import Action
from admin_api.http.problems import Problem
from admin_api.page.framework.in_process_api import Query
from admin_api.page.framework.page_request import PageRequest, View
from storage.ids import is_id


async def sound(request: PageRequest) -> Response:
    """Answer with the audio, or the range a player asks for; seeking is not audited as a new playback."""
    form = request.http.query_params.get("format", "wav")
    wanted = request.http.headers.get("range", "")
    further = bool(wanted) and not wanted.startswith("bytes=0-")
    return await _passed_on(request, f"/calls/{request.path_id}/media", {"format": form}, again=further)


async def waveform(request: PageRequest) -> Response:
    """Answer with the loudness of each channel over the length of the call."""
    return await _passed_on(request, f"/calls/{request.path_id}/waveform")


async def attachment(request: PageRequest) -> Response:
    """Answer with a transcript or chat as a download."""
    part = str(request.http.path_params["part"])
    return await _passed_on(request, f"/calls/{request.path_id}/attachments/{part if is_id(part) else '-'}")


async def _passed_on(request: PageRequest, path: str, query: Query = (), *, again: bool = False) -> Response:
    """Answer as the API does; somebody who followed a link gets a page, which a player's own request does not need."""
    try:
        return await request.api.stream(path, query, again=again)
    except Problem as problem:
        if request.http.headers.get("sec-fetch-mode") == "navigate":
            raise
        return responses.problem(problem)


VIEWS = (
    View("GET", "/calls/{id}/media", sound, Action.PLAY),
    View("GET", "/calls/{id}/waveform", waveform, Action.WAVEFORM),
    View("GET", "/calls/{id}/attachments/{part}", attachment, Action.ATTACHMENT),
)
