"""Summary of a call for lists: state, audio quality, gaps; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = ("role", "name", "number", "uri")
"""Keys of a party that a row shows."""

TONES: Mapping[str, str] = {"recording": "live", "interrupted": "warn"}
"""Tone of each state that has one."""

GRADES = ((4.03, "good", "good"), (3.6, "", "fair"), (3.1, "warn", "poor"), (0.0, "bad", "bad"))
"""Lowest MOS, tone and code of each class of user satisfaction (ITU-T G.107 annex B)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A small label."""

    text: str
    """Id of its text."""
    tone: str = ""
    """good, warn, bad, hold, live, or "" for grey."""
    values: Mapping[str, object] = field(default_factory=dict)
    """Values for the placeholders in the text."""


@dataclass(frozen=True, slots=True)
class CallSummary:
    """One row."""

    call: Mapping[str, Any]
    """The call."""
    state: Mark
    """Its state."""
    marks: Sequence[Mark]
    """Quality, gaps, pause, hold."""


def summary(call: Mapping[str, Any]) -> CallSummary:
    """Build the row of a call."""
    state = str(call["state"])
    return CallSummary(call, Mark(f"call-state.{state}", TONES.get(state, "")), list(_marks(call)))


def quality(mos: float | None) -> Mark | None:
    """Return the mark for a MOS estimate (1 to 4.5)."""
    if mos is None:
        return None
    found = next((tone, word) for least, tone, word in GRADES if mos >= least or not least)
    return Mark(f"quality.{found[1]}", found[0])


def fingerprint(rows: Iterable[CallSummary]) -> str:
    """Return a key of the shown data except the lengths, which keep growing."""
    told = [
        (row.call["id"], _people(row.call), row.state.text, [(m.text, m.values) for m in row.marks]) for row in rows
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _people(call: Mapping[str, Any]) -> list[list[Any]]:
    return [[party.get(name) for name in SHOWN] for party in call.get("parties") or ()]


def _marks(call: Mapping[str, Any]) -> Iterable[Mark]:
    streams = call.get("streams") or ()
    if call.get("node") and call["state"] == "recording":
        away = call["node_state"] == "away"
        yield Mark("mark.node-away" if away else "mark.node", "warn" if away else "", {"node": call["node"]})
    if call.get("paused"):
        yield Mark("mark.paused", "warn")
    graded = quality(min((mos for s in streams if (mos := s.get("mos")) is not None), default=None))
    if graded:
        yield graded
    missing = max((int(s.get("gap_ms") or 0) for s in streams), default=0)
    if missing:
        yield Mark("mark.missing", "warn", {"seconds": missing / 1000})
    if any(s.get("media") == "video" for s in streams):
        yield Mark("mark.video")
    if call.get("hold"):
        yield Mark("mark.hold", "hold")
