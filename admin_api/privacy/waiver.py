"""The waiver: signed permission to erase calls before their retention ends."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, TypedDict, cast

import msgspec
from msgspec import Meta

from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import ADMIN, FOLLOWERS, Action
from admin_api.http.problems import Fault, invalid
from admin_api.http.types import AHEAD, NOT_LATER, Given, Id, Moment, Reason, Time, right, said
from storage.erasure.waivers import Waiver as StoredWaiver
from storage.timestamps import rfc3339

MAX_NAME = 200  # characters of who signed
_SHA256 = Message("reason.sha256", "must be the SHA-256 of the signed document, 64 lower-case hexadecimal digits")


class Waiver(TypedDict):
    """The newest waiver, if there is one."""

    active: bool
    id: Id | None
    document_sha256: str | None
    signed_by: str | None
    scope: str | None
    signed_at: Time | None
    expires_at: Time | None
    put_at: Time | None
    put_by: str | None


class WaiverRequest(Given):
    """A waiver to put on file."""

    document_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z"), right(_SHA256)]
    signed_by: Annotated[str, said(MAX_NAME)]
    signed_at: Moment
    scope: Reason
    expires_at: Moment | None
    """Null if it never expires."""

    def faults(self) -> Iterable[Fault]:
        """Check the order of the dates."""
        if self.expires_at is not None and self.expires_at <= self.signed_at:
            yield "expires_at", Message("reason.after-signed-at", "must be after signed_at")


@endpoint("GET", "/waiver", Action.WAIVER, FOLLOWERS)
async def view(request: AuthorisedRequest) -> Waiver:
    """The waiver that immediate erasure needs.

    It is the newest one, active or not.
    """
    return shown(await request.customer.waivers.current(), datetime.now(UTC))


@endpoint("PUT", "/waiver", Action.WAIVER_WRITE, ADMIN)
async def put(request: AuthorisedRequest, body: WaiverRequest) -> Waiver:
    """Put a waiver on file.

    It replaces the one before, even if it permits less; an expired one permits nothing.
    """
    if body.signed_at > request.customer.now() + AHEAD:
        raise invalid([("signed_at", NOT_LATER)])
    await request.note(DONE)
    waiver = await request.customer.waivers.put(**msgspec.structs.asdict(body), by=request.principal.name)
    return shown(waiver, datetime.now(UTC))


def shown(waiver: StoredWaiver | None, now: datetime) -> Waiver:
    """Return the waiver in the form of the API, or that none was ever filed."""
    if waiver is None:
        return cast("Waiver", {**dict.fromkeys(Waiver.__annotations__), "active": False})
    return {
        "active": waiver.active(now),
        "id": waiver.id,
        "document_sha256": waiver.document_sha256,
        "signed_by": waiver.signed_by,
        "signed_at": rfc3339(waiver.signed_at),
        "scope": waiver.scope,
        "expires_at": rfc3339(waiver.expires_at),
        "put_at": rfc3339(waiver.put_at),
        "put_by": waiver.put_by,
    }
