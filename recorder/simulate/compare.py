"""Compare a recording with what was sent: every frame once, in its place, on its channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recorder.simulate.coded import SAMPLES, Found
from recorder.simulate.report import StreamReport


@dataclass(frozen=True, slots=True)
class Difference:
    """How one channel of a recording differs from what its stream sent."""

    sent: int
    """Frames sent."""
    missing: tuple[int, ...]
    """Missing frame numbers."""
    doubled: tuple[int, ...]
    """Frame numbers that occur more than once."""
    foreign: int
    """Frames of other streams, calls or runs."""
    displaced: tuple[int, ...]
    """Frame numbers at another position than their time says."""

    @property
    def none(self) -> bool:
        """Whether the channel is as it was sent."""
        return not (self.missing or self.doubled or self.foreign or self.displaced)


def difference(stream: StreamReport, found: Sequence[Found], first_tick: int) -> Difference:
    """Compare a channel with a stream; `first_tick` is the tick that the recording's first sample belongs to."""
    mine = [f for f in found if (f.run, f.call, f.stream) == (stream.run, stream.call, stream.stream)]
    places: dict[int, list[int]] = {}
    for frame in mine:
        places.setdefault(frame.frame, []).append(frame.position)
    wanted = stream.ticks()
    return Difference(
        sent=len(wanted),
        missing=tuple(tick for tick in wanted if tick not in places),
        doubled=tuple(tick for tick, at in places.items() if len(at) > 1),
        foreign=len(found) - len(mine),
        displaced=tuple(tick for tick, at in places.items() if at[0] != SAMPLES * (tick - first_tick)),
    )
