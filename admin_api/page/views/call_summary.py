"""Summarise a call for lists: parties, audio quality, gaps; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_PEOPLE = 4
"""Parties named in a row; the page of the call names them all."""

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
class Person:
    """One party in a list."""

    role: str
    """Code of the role."""
    name: str
    """Name as sent, "" if absent."""
    address: str
    """Number, else URI, else ""."""


@dataclass(frozen=True, slots=True)
class CallSummary:
    """One row."""

    id: str
    """The call."""
    started_at: str | None
    """RFC 3339."""
    duration_ms: int
    """Length so far."""
    live: bool
    """Whether it is being recorded."""
    people: Sequence[Person]
    """Who took part, at most MOST_PEOPLE."""
    more: int
    """How many others took part."""
    state: Mark
    """Its state."""
    marks: Sequence[Mark]
    """Quality, gaps, pause, hold."""
    erase_after: str | None
    """When retention ends."""


def summary(call: Mapping[str, Any]) -> CallSummary:
    """Build a row from a call's document."""
    parties = call.get("parties") or ()
    state = str(call["state"])
    return CallSummary(
        id=str(call["id"]),
        started_at=call.get("started_at"),
        duration_ms=int(call.get("duration_ms") or 0),
        live=state == "recording",
        people=[person(party) for party in parties[:MOST_PEOPLE]],
        more=max(len(parties) - MOST_PEOPLE, 0),
        state=Mark(f"call-state.{state}", TONES.get(state, "")),
        marks=list(_marks(call)),
        erase_after=call.get("erase_after"),
    )


def person(party: Mapping[str, Any]) -> Person:
    """Show a party by name and number, or by URI where it has no number."""
    role = str(party.get("role") or "participant")
    address = party.get("number") or party.get("uri") or ""
    return Person(role, str(party.get("name") or ""), str(address))


def quality(mos: float | None) -> Mark | None:
    """Return the mark for a MOS estimate (1 to 4.5)."""
    if mos is None:
        return None
    found = next((tone, word) for least, tone, word in GRADES if mos >= least or not least)
    return Mark(f"quality.{found[1]}", found[0])


def fingerprint(rows: Iterable[CallSummary]) -> str:
    """Return a key of what is shown except the lengths, which keep growing."""
    told = [(row.id, row.people, row.more, row.state.text, [(m.text, m.values) for m in row.marks]) for row in rows]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _marks(call: Mapping[str, Any]) -> Iterable[Mark]:
    streams = call.get("streams") or ()
    if call.get("paused"):
        yield Mark("mark.paused", "warn")
    graded = quality(min((mos for s in streams if (mos := s.get("mos")) is not None), default=None))
    if graded:
        yield graded
    missing = max((int(s.get("gap_ms") or 0) for s in streams), default=0)
    if missing:
        yield Mark("mark.missing", "warn", {"seconds": f"{missing / 1000:.1f}"})
    if any(s.get("media") == "video" for s in streams):
        yield Mark("mark.video")
    if call.get("hold"):
        yield Mark("mark.hold", "hold")
