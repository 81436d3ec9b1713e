"""What has arrived of one stream: its sources, counters and clocks (RFC 3550 section 6.4.1, appendices A.1 and A.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from media.rtp.sequence import FULL, WINDOW, Source
from media.rtp.statistics import jitter_of
from media.spec import DEFAULT_CLOCK, unit_of

_SECOND = 1_000_000_000
#: Sources of one stream that are kept apart; beyond, the least recently heard one is removed (RFC 3550 section 8
#: expects a change now and then).
MAX_SOURCES = 16
#: A timestamp step of more than this many seconds is a pause, not a packet's length.
MAX_STEP_SECONDS = 1
#: Length of a packet if nothing else is known (RFC 3551 section 4.2).
DEFAULT_PACKET_NS = 20_000_000
#: The clock tells missing packets from a restarted sender: numbers and time must agree to within a quarter.
AGREE = 4

_NOBODY = Source(0, 1)
_FULL = FULL.to_bytes(WINDOW // 8, "big")
_NO_PLACE = (*(0,) * 10, b"")


class Reception:
    """The sources of a stream, their counters, and the clock of the newest packet."""

    __slots__ = (
        "current",
        "duplicates",
        "epoch",
        "first_arrival",
        "foreign",
        "jitter",
        "last_arrival",
        "last_size",
        "late",
        "packets",
        "payload_type",
        "rejected",
        "reordered",
        "retired",
        "size",
        "sources",
        "unit",
    )

    def __init__(self) -> None:
        #: In the order of their first packets; nearly always one, for which a dict would take six times the memory.
        self.sources: tuple[Source, ...] = ()
        self.current: Source | None = None
        #: Bits above 16 in the numbers of new plain sources, so that the first source heard and the one that the offer
        #: names never share a number.
        self.epoch = 0
        #: (expected, received, lost) of sources that were removed.
        self.retired = (0, 0, 0)
        self.packets = self.duplicates = self.rejected = self.foreign = self.late = self.reordered = self.size = 0
        self.first_arrival = self.last_arrival = 0
        self.jitter = 0.0
        self.payload_type: int | None = None
        #: ns of one timestamp unit.
        self.unit = unit_of(DEFAULT_CLOCK)
        #: Payload bytes of the newest packet.
        self.last_size = 0

    # ---- sources ----
    def source_of(self, ssrc: int) -> Source | None:
        """Return the source of an SSRC; None if nothing came from it."""
        if self.current is not None and self.current.ssrc == ssrc:
            return self.current
        return next((each for each in self.sources if each.ssrc == ssrc), None)

    def turn_to(self, ssrc: int, sequence: int, rollover: int | None) -> Source:
        """Make the source of an SSRC the current one; a new one belongs to the same stream (RFC 3550 section 8).

        `rollover`: under SRTP, the bits above 16 in the numbers of a new one; None = plain RTP.
        """
        source = self.source_of(ssrc)
        if source is None:
            source = Source(ssrc, (self.epoch if rollover is None else rollover) << 16 | sequence)
            self.sources = (*self.sources, source)
            if len(self.sources) > MAX_SOURCES:
                self._settle_one(plain=rollover is None)
        self.current = source
        return source

    def _settle_one(self, *, plain: bool) -> None:
        """Remove one source for a new one, but never the one heard most: in plain RTP anybody can invent sources."""
        most = max(self.sources, key=lambda each: each.received)
        old = min((each for each in self.sources[:-1] if each is not most), key=lambda each: each.arrival)
        if plain:  # if it comes back, it reuses no number
            self.epoch = max(self.epoch, 1 + (old.highest >> 16))
        self._retire(old)
        self.sources = tuple(each for each in self.sources if each is not old)

    def displace(self) -> None:
        """Let the source that the offer names replace the one heard until now, with numbers of its own."""
        self.epoch = max([self.epoch, *(1 + (each.highest >> 16) for each in self.sources)])
        for each in self.sources:
            self._retire(each)
        self.sources, self.current = (), None

    def _retire(self, old: Source) -> None:
        expected, received, lost = self.retired
        self.retired = expected + old.expected, received + old.received, lost + old.lost

    def totals(self) -> tuple[int, int]:
        """Return (lost, expected) over all sources."""
        expected, _, lost = self.retired
        for source in self.sources:
            expected += source.expected - source.excused
            lost += source.lost
        return lost, expected

    # ---- counters ----
    def reject(self, count: int = 1) -> None:
        """Count packets that no key opens, that are replayed, or that are none; negative if a later key opened some."""
        self.rejected += count

    def ignore(self, count: int = 1) -> None:
        """Count packets that do not belong to this stream."""
        self.foreign += count

    def repeat(self) -> None:
        """Count a duplicate packet."""
        self.duplicates += 1

    def miss(self) -> None:
        """Count a packet that came too late to be stored."""
        self.late += 1

    def store(self, size: int, arrival: int) -> None:
        """Count a packet that is stored, by its payload bytes."""
        self.packets += 1
        self.size += size
        self.first_arrival = self.first_arrival or arrival
        self.last_arrival = max(self.last_arrival, arrival)

    def lose(self, count: int) -> None:
        """Subtract packets that were not written to disk."""
        self.packets -= count

    # ---- clocks ----
    def packet_ns(self, source: Source) -> int:
        """Return the length of a packet of the source, by its smallest timestamp step."""
        return int(source.step * self.unit) or DEFAULT_PACKET_NS

    def agrees(self, source: Source, extended: int, arrival: int) -> bool:
        """Return whether a jump ahead matches the time that passed: packets are missing, the sender did not restart."""
        elapsed = arrival - source.arrival
        ahead = (extended - source.highest) * self.packet_ns(source)
        return ahead > 0 and abs(ahead - elapsed) * AGREE <= elapsed

    def switch(self, payload_type: int | None, clock: int) -> None:
        """Set the payload type of the newest packet, if any came, and its clock rate, as offered."""
        self.payload_type, self.unit = payload_type, unit_of(clock)

    def follow(self, source: Source, timestamp: int, arrival: int, size: int, *, goes_on: bool, followed: bool) -> None:
        """Note the clocks of a source's newest packet: whether the source is the same as before (`goes_on`), and
        whether the packet directly follows (`followed`).
        """
        if goes_on:
            self._transit(source, timestamp, arrival)
        step = source.step
        if followed:
            moved = (timestamp - source.timestamp) & 0xFFFFFFFF
            if 0 < moved * self.unit <= MAX_STEP_SECONDS * _SECOND and (not step or moved < step):
                step = moved
        source.follow(timestamp, step, arrival)
        self.last_size = size

    def reorder(self, source: Source, timestamp: int, arrival: int) -> None:
        """Note a packet that later ones of its source have overtaken."""
        self.reordered += 1
        source.overtaken(self._transit(source, timestamp, arrival))

    def _transit(self, source: Source, timestamp: int, arrival: int) -> float:
        """Update the jitter with a packet and the one that arrived before it, whatever their numbers (RFC 3550 6.4.1).

        Return how much longer (ns) it took than the packet with the highest number.
        """
        longer = arrival - source.arrival - signed((timestamp - source.timestamp) & 0xFFFFFFFF) * self.unit
        self.jitter = jitter_of(self.jitter, longer - source.lag)
        return longer

    def advance(self, count: int, timestamp: int, step: int, arrival: int, jitter: float, size: int, last: int) -> None:
        """Note a batch in sequence of the current source, by its newest packet.

        `size`: payload bytes of all; `last`: those of the newest packet.
        """
        if self.current is not None:
            self.current.advance(count, timestamp, step, arrival)
        self.last_arrival = arrival
        self.packets += count
        self.jitter = jitter
        self.size += size
        self.last_size = last

    # ---- checkpoint ----
    def counters(self) -> tuple[int, ...]:
        """Return the counters of a checkpoint, in its order."""
        return (
            self.packets, self.duplicates, self.rejected, self.foreign, self.late, self.reordered, self.size,
            self.first_arrival,
        )  # fmt: skip

    def place(self) -> tuple[int | bytes, ...]:
        """Return the numbers of the current source for a checkpoint; all 0 if there is none."""
        if self.current is None:
            return _NO_PLACE
        *numbers, window = self.current.numbers()
        return *numbers, _FULL if window == FULL else window.to_bytes(WINDOW // 8, "big")

    def moving(self) -> tuple[int | float, ...]:
        """Return what batches in sequence change: the newest packet's extended number, timestamp, arrival and step;
        payload bytes so far, and jitter.
        """
        source = self.current or _NOBODY
        return source.highest, source.timestamp, source.arrival, source.step, self.size, self.jitter

    def steady(self) -> tuple[object, ...]:
        """Return what batches in sequence do not change, as values to compare."""
        current, sources = self.current, self.sources
        source = current or _NOBODY
        return (
            current is None, source.ssrc, source.first, source.excused, source.settled, 2 * source.shift + 1,
            # highest, received and packets grow together; odd numbers, because -1 and -2 have one hash
            source.highest - source.received, 2 * (self.packets - source.received) + 1,
            tuple([each.numbers() for each in sources if each is not current]) if len(sources) > 1 else (),
            self.retired, self.epoch, self.payload_type, self.first_arrival, self.duplicates, self.rejected,
            self.foreign, self.late, self.reordered,
        )  # fmt: skip

    def others(self) -> list[list[int | str]]:
        """Return the sources except the current one."""
        rest = [each.numbers() for each in self.sources if each is not self.current]
        return [[*numbers, f"{window:x}"] for *numbers, window in rest]

    def restore(self, counters: Sequence[int], jitter: float, place: Sequence[Any], rare: dict[str, Any]) -> None:
        """Restore what `counters`, `place` and `others` returned; `rare` is the rest of the checkpoint."""
        (
            self.packets, self.duplicates, self.rejected, self.foreign, self.late, self.reordered, self.size,
            self.first_arrival,
        ) = counters  # fmt: skip
        self.jitter, self.epoch = jitter, rare.get("epoch", 0)  # missing in states of older versions
        sources = [Source.restored([*values[:-1], int(values[-1], 16)]) for values in rare["others"]]
        if rare["current"]:
            *numbers, window = place
            self.current = Source.restored([*numbers, int.from_bytes(window, "big")])
            sources.append(self.current)
        self.sources = tuple(sources)
        expected, received, lost = rare["retired"]
        self.retired = expected, received, lost

    def go_on(self, highest: int, timestamp: int, arrival: int, step: int, size: int, jitter: float) -> None:
        """Apply what `moving` returned: since `place`, only packets in sequence came."""
        self.size, self.jitter = size, jitter
        if self.current is not None:
            count = highest - self.current.highest
            self.current.advance(count, timestamp, step, arrival)
            self.packets += count
            self.last_arrival = arrival


def signed(value: int) -> int:
    """Return the difference of two timestamps as the nearest step, forward or back."""
    return value - (1 << 32) if value >> 31 else value
