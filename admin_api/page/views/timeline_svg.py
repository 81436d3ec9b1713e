"""Drawing of a call's time line: a row for each party and stream, with pauses, holds and gaps; pure.

Positions are percent of the call's length, so that a template can draw them at any width. The same events are in a
table, for readers who cannot see the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

MOST_ROWS = 40
"""Maximum number of rows drawn; the tables list the rest."""
MOST_BARS = 400
"""Maximum number of gaps drawn in a row; with more, each is no wider than a dot. The stream's figures count all."""
MOST_TICKS = 9
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
"""Seconds between two ticks; the first that fits is used."""
THIN = 0.15  # percent: narrower bars would be invisible


@dataclass(frozen=True, slots=True)
class Bar:
    """An event with a duration."""

    kind: str
    """present, sound, pause or gap: how it is drawn."""
    what: str
    """Its kind, or the reason of a gap; a code of the catalogue's group `gap`."""
    begin: str
    """Begin, RFC 3339."""
    end: str | None
    """End, RFC 3339, None while it lasts."""
    x: float
    """Left end in percent."""
    width: float
    """Width in percent."""
    who: str = ""
    """Name of the speaker, "" if unknown."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the picture."""

    kind: str
    """party or stream."""
    name: str
    """Name of the party, or kind of media."""
    label: str
    """Label of the stream, "" for a party."""
    bars: Sequence[Bar]
    """The bars, later ones drawn on top."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick on the scale below."""

    x: float
    """Per cent."""
    after_ms: int
    """Since the call began."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole time line."""

    rows: Sequence[Row]
    """From top to bottom."""
    ticks: Sequence[Tick]
    """From left to right."""
    left_out: int
    """Number of rows that are not drawn."""


class _Scale:
    """The scale that converts times to percent of the length."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self.begin = begin
        self.seconds = max((end - begin).total_seconds(), 0.001)

    def bar(self, kind: str, what: str, begin: str | None, end: str | None, who: str = "") -> Bar | None:
        """Return the bar between two times, to the end if it still lasts; None if it never began."""
        if begin is None:
            return None
        left = self._at(begin)
        right = self._at(end) if end else 100.0
        return Bar(kind, what, begin, end, round(left, 3), round(max(right - left, THIN), 3), who)

    def _at(self, text: str) -> float:
        passed = (datetime.fromisoformat(text) - self.begin).total_seconds()
        return min(max(100 * passed / self.seconds, 0.0), 100.0)


def picture(call: Mapping[str, Any]) -> Picture | None:
    """Draw the time line of a call document; None before the call has begun."""
    if not call.get("started_at"):
        return None
    begin = datetime.fromisoformat(call["started_at"])
    length = timedelta(milliseconds=int(call.get("duration_ms") or 0))
    end = datetime.fromisoformat(call["ended_at"]) if call.get("ended_at") else begin + length
    scale = _Scale(begin, max(end, begin + length))
    rows = [*_parties(call, scale), *_streams(call, scale)]
    return Picture(rows[:MOST_ROWS], list(_ticks(scale.seconds)), max(len(rows) - MOST_ROWS, 0))


def named(party: Mapping[str, Any]) -> str:
    """Return the shortest name of a party."""
    return str(party.get("name") or party.get("number") or party.get("uri") or "")


def names(parties: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> list[str]:
    """Return the names of the parties with these numbers, without those that have none."""
    return [name for number in numbers if 0 <= number < len(parties) and (name := named(parties[number]))]


def owners(stream: Mapping[str, Any]) -> Sequence[int]:
    """Return the numbers of the parties that speak in a stream."""
    party = stream.get("party")
    if party is None:
        return ()
    return (party,) if isinstance(party, int) else tuple(party)


def owners_in_turn(stream: Mapping[str, Any]) -> list[tuple[str | None, str | None, Sequence[int]]]:
    """Return begin (None: the first packet), end (None: the last) and parties of each speaker of a stream in order."""
    told = stream.get("speakers") or ({"from": None, "to": None, "party": stream.get("party")},)
    return [(each["from"], each["to"], owners(each)) for each in told]


def _sounding(
    call: Mapping[str, Any], stream: Mapping[str, Any], scale: _Scale, last: str | None
) -> Iterator[Bar | None]:
    """Draw the recorded parts of a stream, with a bar for each speaker."""
    first, parties = stream.get("first_packet_at"), call.get("parties") or ()
    for begin, end, numbers in owners_in_turn(stream)[:MOST_BARS] if first else ():
        until = min((at for at in (end, last) if at), key=datetime.fromisoformat, default=None)
        since = max((at for at in (begin, first) if at), key=datetime.fromisoformat)
        if until is None or datetime.fromisoformat(since) < datetime.fromisoformat(until):
            yield scale.bar("sound", "sound", since, until, ", ".join(names(parties, numbers)))


def _parties(call: Mapping[str, Any], scale: _Scale) -> Iterator[Row]:
    for party in call.get("parties") or ():
        bar = scale.bar("present", "present", party.get("joined_at") or call["started_at"], party.get("left_at"))
        yield Row("party", named(party), "", [bar] if bar else [])


def _streams(call: Mapping[str, Any], scale: _Scale) -> Iterator[Row]:
    over = call.get("ended_at") is not None
    for stream in call.get("streams") or ():
        last = stream.get("last_packet_at") if over else None
        bars = list(_sounding(call, stream, scale, last or call.get("ended_at")))
        bars += [scale.bar("pause", "pause", *pair) for pair in (stream.get("pauses") or ())[:MOST_BARS]]
        for begin, end, reason in (stream.get("gaps") or ())[:MOST_BARS]:
            bars.append(scale.bar("gap", str(reason), begin, end))
        yield Row("stream", str(stream.get("media") or ""), str(stream.get("label") or ""), [b for b in bars if b])


def _ticks(seconds: float) -> Iterator[Tick]:
    step = next((step for step in STEPS if seconds / step <= MOST_TICKS), STEPS[-1])
    for number in range(min(int(seconds // step), MOST_TICKS) + 1):
        yield Tick(round(100 * number * step / seconds, 3), number * step * 1000)
