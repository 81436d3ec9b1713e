"""When nothing may be stored (a pause by the customer), decided by the kernel's arrival times.

Some packets that come later repeat what a pause excluded. A digit pressed in it may be held beyond its end and is
repeated after it (RFC 4733 section 2.3); redundant audio (RFC 2198) repeats what was said up to some packets before.
"""

from collections.abc import Iterable, Sequence

from media.errors import Malformed
from media.rtp import header, red
from media.spec import StreamSpec, unit_of

#: ns since the epoch: from, to (None while it lasts)
Interval = tuple[int, int | None]
#: Pauses remembered separately; there are more only if the sockets were not emptied for a while.
MAX_INTERVALS = 64
#: ns after a pause in which a digit pressed in it may still be held, or its end be repeated (RFC 4733 section 2.5.1.4);
#: longer while it is held.
GRACE = 2_000_000_000
#: Age in ns that a digit may have in its first packet (RFC 4733 section 2.5.1.2): one pressed right after a pause does
#: not belong to it.
FIRST_UPDATE = 50_000_000
#: Digits of pauses that are remembered: those of a second or two.
MAX_DIGITS = 64
#: Encoding name of DTMF events (RFC 4733).
DIGITS = "telephone-event"


def bounded(items: Sequence[Interval]) -> list[Interval]:
    """Keep the newest pauses and merge the older ones: losing what came between is better than storing a pause."""
    if len(items) <= MAX_INTERVALS:
        return list(items)
    old, new = items[: 1 - MAX_INTERVALS], items[1 - MAX_INTERVALS :]
    return [(min(begin for begin, _ in old), max(end or begin for begin, end in old)), *new]


class Pauses:
    """The pauses of one call whose packets may still be in the sockets."""

    __slots__ = ("_digits", "items")

    def __init__(self, items: Iterable[Interval] = ()) -> None:
        self.items: list[Interval] = list(items)
        #: SSRC and timestamp of what was keyed in a pause, and until when (ns) it may be held; the newest last.
        self._digits: tuple[tuple[int, int, int], ...] = ()

    @property
    def lasting(self) -> bool:
        """Return whether a pause is in progress."""
        return bool(self.items) and self.items[-1][1] is None

    def begin(self, at: int) -> bool:
        """Start a pause; return False if one is in progress."""
        if self.lasting:
            return False
        self.items = bounded([*self.items, (at, None)])
        return True

    def end(self, at: int) -> bool:
        """End the pause in progress; return False if there is none."""
        if not self.lasting:
            return False
        self.items[-1] = (self.items[-1][0], at)
        return True

    def take_over(self, left: Iterable[Interval], over: int | None) -> None:
        """Add the pauses that a predecessor knew to those that we were told, which are newer.

        A pause in progress of which we were told nothing ended at `over` (None: it is still in progress).
        """
        before = [
            (begin, end if end is not None or over is None else max(begin, over))
            for begin, end in left
            if end is not None or not self.items
        ]
        self.items = bounded([*(item for item in before if item not in self.items), *self.items])

    def covers(self, arrival: int) -> bool:
        """Return whether a packet with this arrival time must not be stored."""
        if not self.items:  # mostly there are none, and a generator would cost more than the rest
            return False
        return any(begin <= arrival and (end is None or arrival < end) for begin, end in self.items)

    def unwanted(self, spec: StreamSpec, header: header.Parsed, packet: bytes, arrival: int) -> bool:
        """Return whether a packet came in a pause (`arrival` in ns), or repeats what was said or keyed in one."""
        _, payload_type, _, timestamp, ssrc, begin, end = header
        name, clock = spec.codec(payload_type)
        if name.lower() != red.NAME:
            return self._repeats(spec, payload_type, packet[begin:end], (ssrc, timestamp), arrival, arrival)
        try:
            blocks = red.blocks(packet[begin:end])
        except Malformed:
            return self.covers(arrival)
        told = [
            self._repeats(
                spec, block.payload_type, block.payload, (ssrc, (timestamp - block.behind) & 0xFFFFFFFF),
                arrival - int(block.behind * unit_of(clock)), arrival,
            )
            for block in blocks
        ]  # fmt: skip
        return any(told) or self.covers(arrival)

    def _repeats(
        self, spec: StreamSpec, payload_type: int, payload: bytes, digit: tuple[int, int], said: int, arrival: int
    ) -> bool:
        """Return the same for one block, which alone would have come at `said`; `digit`: its SSRC and timestamp."""
        name, clock = spec.codec(payload_type)
        if name.lower() != DIGITS or len(payload) < 4:
            return self.covers(said)
        lasted = int(int.from_bytes(payload[2:4]) * unit_of(clock))
        return self.keyed(digit, said - lasted, arrival)

    def keyed(self, digit: tuple[int, int], began: int, arrival: int) -> bool:
        """Return whether a digit (SSRC, timestamp) was keyed in a pause, and remember it, as it may be held longer."""
        others = tuple(each for each in self._digits if each[:2] != digit)
        known = len(others) < len(self._digits)
        if not (known or self.covers(arrival) or self.covers(began + FIRST_UPDATE)):
            return False
        self._digits = (*others, (*digit, arrival + GRACE))[-MAX_DIGITS:]
        return True

    def forget(self, before: int) -> None:
        """Remove pauses of which no packet can be in the sockets or still arrive."""
        if self._digits and self._digits[-1][2] > before:
            return
        self.items = [item for item in self.items if item[1] is None or item[1] + GRACE > before]
        if not self.items:
            self._digits = ()
