"""A recording to and from the JSON-able state of a checkpoint; pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from functools import lru_cache
from typing import Any

from recorder.session.events import Now
from recorder.session.index_row import parse_time
from recorder.session.mline_matching import stream_of
from recorder.session.session import Recording, State
from recorder.session.stream import Certificate, Stream
from sip.sdp import answer
from sip.siprec.call_model import CallModel
from storage.timestamps import rfc3339

FIELDS = ("paused", "interrupted", "reason", "call_id", "client", "notes")
"""Fields that are JSON already."""


MAX_POLICIES = 256
"""Policies written out once, not for each checkpoint: a customer has two, with and without TLS."""


def to_state(recording: Recording) -> dict[str, Any]:
    """Return everything a successor needs to go on with the recording."""
    agreement = recording.agreement
    return {
        "id": recording.id,
        "policy": _policy(recording.policy),
        "started": _moment(recording.started),
        "picture": recording.picture.to_state(),
        "lines": [None if _streamed(recording, p) else p.to_state() for p in agreement.lines],
        "streams": [s.to_state() for s in recording.streams],
        "offer": base64.b64encode(agreement.offer_sdp).decode(),
        "answer": base64.b64encode(agreement.answer_sdp).decode(),
        "sdp_session": agreement.session,
        "version": agreement.version,
        "source": recording.source,
        "certificate": _certificate(recording.agreement.certificate),
        "renewal": _certificate(recording.agreement.renewal),
        "offers_first": recording.offers_first,
        **{name: getattr(recording, name) for name in FIELDS},
    }


def from_state(state: Mapping[str, Any], random: Callable[[int], bytes]) -> Recording:
    """Return the recording of a checkpoint, in state RECORDING."""
    policy = answer.Policy(**{**state["policy"], **{k: frozenset(state["policy"][k]) for k in ("supported", "kinds")}})
    recording = Recording(state["id"], policy, random)
    recording.started = _from_moment(state["started"])
    recording.picture = CallModel.from_state(state["picture"])
    recording.streams = [Stream.from_state(s) for s in state["streams"]]
    lines = {s.line.index: s.line for s in recording.streams if not s.removed}
    agreement = recording.agreement
    agreement.lines = tuple(answer.LinePlan.from_state(p) if p else lines[n] for n, p in enumerate(state["lines"]))
    agreement.session, agreement.version = state["sdp_session"], state["version"]
    agreement.offer_sdp = base64.b64decode(state["offer"])
    agreement.answer_sdp = base64.b64decode(state["answer"])
    for name in FIELDS:
        setattr(recording, name, state[name])
    recording.source = state.get("source")  # a version before this one did not know it
    recording.offers_first = bool(state.get("offers_first"))  # nor this
    agreement.certificate = _from_certificate(state.get("certificate"))
    agreement.renewal = _from_certificate(state.get("renewal"))  # a version before this one did not know it
    recording.state = State.RECORDING
    return recording


def _certificate(own: Certificate | None) -> list[str] | None:
    """Return a certificate of ours that an SDP named; a successor has to go on with it (RFC 8842 section 4)."""
    return [own.fingerprint, base64.b64encode(own.identity).decode()] if own else None


def _from_certificate(state: Sequence[str] | None) -> Certificate | None:
    return Certificate(state[0], base64.b64decode(state[1])) if state else None


@lru_cache(MAX_POLICIES)
def _policy(policy: answer.Policy) -> dict[str, Any]:
    plain = {item.name: getattr(policy, item.name) for item in fields(policy)}
    return {**plain, "supported": sorted(policy.supported), "kinds": sorted(policy.kinds)}


def _streamed(recording: Recording, line: answer.LinePlan) -> bool:
    """Tell whether a stream carries this very plan, so that it need not be written twice."""
    stream = stream_of(recording.streams, line.index)
    return stream is not None and stream.line is line


def _moment(now: Now | None) -> list[Any] | None:
    return [rfc3339(now.wall), now.mono, now.behind.total_seconds()] if now else None


def _from_moment(state: list[Any] | None) -> Now | None:
    wall = parse_time(state[0]) if state else None
    if not state or not wall:
        return None
    return Now(wall, float(state[1]), timedelta(seconds=sum(state[2:])))  # older checkpoints do not know the third
