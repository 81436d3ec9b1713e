"""A pause that an administrator asks for, and its end: nothing in between is stored (CONTRACT, Admin API); pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.session import call_document
from recorder.session import commands as c
from recorder.session import events as e

if TYPE_CHECKING:
    from recorder.session.session import Recording


def turn(recording: Recording, now: e.Now, *, paused: bool) -> list[c.Command]:
    """Pause a recording that is under way, or go on with it; nothing is to be done where it is so already."""
    if not recording.under_way or recording.paused == paused:
        return []
    recording.paused = paused
    for stream in recording.streams:
        stream.pause(paused, now.wall)
    media = c.PauseMedia() if paused else c.ResumeMedia()
    event = call_document.happening("pause" if paused else "resume", now.wall)
    return [media, *_told(recording, paused=paused), c.Keep(c.Kept.EVENT, event), c.Index()]


def _told(recording: Recording, *, paused: bool) -> list[c.Command]:
    """Have the client stop sending or go on, where the customer's clients take that."""
    agreement = recording.agreement
    if not recording.policy.reoffers or not agreement.answer_sdp or recording.offers_first:
        return []
    return [c.Reoffer(agreement.turned(paused=paused), paused)]
