"""The media of a call: audio, waveform, attachments."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.calls import attachments, waveform
from admin_api.http.permissions import Action
from admin_api.http.responses import document
from admin_api.page.framework.page_request import PageRequest, view


@view("GET", "/calls/{id}/media", Action.PLAY, file=True)
async def sound(request: PageRequest, id: str) -> Response:
    """Answer with the audio, or the range a player asks for; seeking is not audited as a new playback."""
    form, wanted = request.asked("format"), request.http.headers.get("range", "")
    caller = request.caller(f"sound {form} {id}", again=bool(wanted) and not wanted.startswith("bytes=0-"))
    media = request.authoriser.endpoints[Action.PLAY]
    found: Response = await media.ask(caller, id, query={"format": form})
    return found


@view("GET", "/calls/{id}/waveform", Action.WAVEFORM, file=True)
async def loudness(request: PageRequest, id: str) -> Response:
    """Answer with the loudness of each channel over the length of the call."""
    return document(await waveform.view(request.caller(), id))


@view("GET", "/calls/{id}/attachments/{part}", Action.ATTACHMENT, file=True)
async def attachment(request: PageRequest, id: str, part: str) -> Response:
    """Answer with a transcript or chat as a download."""
    return await attachments.file(request.caller(), id, part)
