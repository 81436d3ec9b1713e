"""Corrections added to a call; the recording itself is never changed (Art. 16)."""

from __future__ import annotations

from admin_api.calls import call_views, calls
from admin_api.calls.call_views import Annotation
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.permissions import PRIVACY, Action
from admin_api.http.types import Given, Reason


class AnnotationRequest(Given):
    """A correction."""

    text: Reason


@endpoint("POST", "/calls/{id}/annotations", Action.ANNOTATE, PRIVACY, status=201)
async def add(request: AuthorisedRequest, id: str, body: AnnotationRequest) -> Annotation:
    """Add a correction; the original stays unchanged."""
    await calls.settled(request)
    await request.note(DONE)
    return call_views.annotation(await request.customer.annotations.add(id, body.text, request.principal.name))
