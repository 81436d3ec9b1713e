"""All endpoints of the API. A new one in a module that is listed here needs no entry of its own."""

from __future__ import annotations

from typing import Any

from admin_api.access import accounts
from admin_api.calls import annotations as corrections
from admin_api.calls import attachments, calls, holds, playback, waveform
from admin_api.directory import user_changes, users
from admin_api.exports import column_sets, exports
from admin_api.http.endpoint import Endpoint
from admin_api.operations import audit, incidents, system
from admin_api.privacy import erasures, retention, subject_requests, waiver

MODULES = (
    *(calls, waveform, holds, corrections, attachments, exports, column_sets),
    *(subject_requests, retention, erasures, waiver, users, user_changes),
    *(audit, accounts, incidents, system),
)


def endpoints() -> tuple[Endpoint[..., Any], ...]:
    """Return all endpoints; those of the media share one player."""
    declared = [each for module in MODULES for each in vars(module).values() if isinstance(each, Endpoint)]
    return (*declared, playback.media(playback.Player()))
