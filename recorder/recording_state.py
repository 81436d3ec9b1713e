"""A recording to and from the JSON-able state of a checkpoint; pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from recorder.document import rfc3339
from recorder.events import Now
from recorder.recording import Recording, State
from recorder.rows import parse_time
from recorder.stream import Stream
from sip import negotiate
from sip.picture import Picture

FIELDS = ("paused", "interrupted", "reason", "call_id", "client", "sdp_session", "version", "notes")
"""Fields that are JSON already."""


def to_state(recording: Recording) -> dict[str, Any]:
    """Return everything a successor needs to go on with the recording."""
    return {
        "id": recording.id,
        "policy": {**asdict(recording.policy), "supported": sorted(recording.policy.supported), "kinds": sorted(recording.policy.kinds)},
        "started": _moment(recording.started),
        "picture": recording.picture.to_state(),
        "lines": [p.to_state() for p in recording.lines],
        "streams": [s.to_state() for s in recording.streams],
        "offer": base64.b64encode(recording.offer_sdp).decode(),
        "answer": base64.b64encode(recording.answer_sdp).decode(),
        **{name: getattr(recording, name) for name in FIELDS},
    }


def from_state(state: Mapping[str, Any], random: Callable[[int], bytes]) -> Recording:
    """Return the recording of a checkpoint, in state RECORDING."""
    policy = negotiate.Policy(**{**state["policy"], **{k: frozenset(state["policy"][k]) for k in ("supported", "kinds")}})
    recording = Recording(state["id"], policy, random)
    recording.started = _from_moment(state["started"])
    recording.picture = Picture.from_state(state["picture"])
    recording.lines = tuple(negotiate.LinePlan.from_state(p) for p in state["lines"])
    recording.streams = [Stream.from_state(s) for s in state["streams"]]
    recording.offer_sdp = base64.b64decode(state["offer"])
    recording.answer_sdp = base64.b64decode(state["answer"])
    for name in FIELDS:
        setattr(recording, name, state[name])
    recording.state = State.RECORDING
    return recording


def _moment(now: Now | None) -> list[Any] | None:
    return [rfc3339(now.wall), now.mono] if now else None


def _from_moment(state: list[Any] | None) -> Now | None:
    wall = parse_time(state[0]) if state else None
    return Now(wall, float(state[1])) if state and wall else None
