"""64-bit sequence numbers of one source: order, loss, duplicates (RFC 3550 appendix A.1, RFC 3711 section 3.3.1)."""

from collections.abc import Sequence
from enum import Enum
from typing import Self

#: Packets below the highest for which new and duplicate can be told apart: 20 s of 20 ms packets, sixteen times RFC
#: 3711's window of 64.
WINDOW = 1024
FULL = (1 << WINDOW) - 1
#: A larger jump ahead means that the sender restarted (RFC 3550 A.1); only accepted without SRTP, whose index excludes
#: it.
MAX_DROPOUT = 3000


class Verdict(Enum):
    """The result for an arriving sequence number."""

    NEXT = "next"
    LATE = "late"
    DUPLICATE = "duplicate"
    OLD = "old"


class Source:
    """One SSRC of a stream and what has arrived from it."""

    __slots__ = (
        "arrival",
        "excused",
        "first",
        "highest",
        "known",
        "lag",
        "received",
        "settled",
        "shift",
        "ssrc",
        "step",
        "timestamp",
        "window",
    )

    def __init__(self, ssrc: int, sequence: int) -> None:
        self.ssrc = ssrc
        #: First and highest extended sequence number of the current epoch.
        self.first = sequence
        self.highest = sequence - 1
        #: Bit i is set if `highest - i` has arrived.
        self.window = 0
        #: Distinct packets of this epoch, packets not expected (holds, pauses), losses of earlier epochs.
        self.received = 0
        self.excused = 0
        self.settled = 0
        #: SRTP rollover counter minus highest >> 16.
        self.shift = 0
        #: RTP timestamp, timestamp step and arrival (ns) of the highest packet.
        self.timestamp = 0
        self.step = 0
        self.arrival = 0
        #: How much longer (ns) the last packet to arrive took than the highest; 0 = it is the highest.
        self.lag = 0.0
        #: False until the first packet.
        self.known = False

    @classmethod
    def restored(cls, values: Sequence[int]) -> Self:
        """Restore a source from what `numbers` returned."""
        source = cls(values[0], 0)
        (
            source.first, source.highest, source.received, source.excused, source.settled, source.shift,
            source.timestamp, source.step, source.arrival, source.window,
        ) = values[1:]  # fmt: skip
        source.known = True
        return source

    def numbers(self) -> tuple[int, ...]:
        """Return all that a successor has to know; the window, as a number, comes last."""
        return (
            self.ssrc, self.first, self.highest, self.received, self.excused, self.settled, self.shift, self.timestamp,
            self.step, self.arrival, self.window,
        )  # fmt: skip

    @property
    def lost(self) -> int:
        """Packets that should have arrived and have not."""
        return self.settled + max(0, self.highest - self.first + 1 - self.received - self.excused)

    @property
    def expected(self) -> int:
        """Packets of this epoch that were sent, according to their numbers."""
        return self.highest - self.first + 1

    def extend(self, sequence: int) -> int:
        """Return the extended number nearest to the highest seen."""
        return self.highest + ((sequence - self.highest + 0x8000) & 0xFFFF) - 0x8000

    def jumped(self, extended: int) -> bool:
        """Return whether the number is so far off that the sender must have restarted."""
        ahead = extended - self.highest
        return self.known and not -WINDOW < ahead <= MAX_DROPOUT

    def restart(self, sequence: int) -> int:
        """Start a new epoch at this 16-bit number, one cycle up; earlier losses remain."""
        self.settled = self.lost
        extended = ((self.highest >> 16) + 1) << 16 | sequence
        self.first, self.highest = extended, extended - 1
        self.window = self.received = self.excused = 0
        return extended

    def awaits(self, extended: int) -> bool:
        """Return whether a number below the highest has not arrived and would still be stored."""
        behind = self.highest - extended
        return 0 <= behind < WINDOW and not self.window >> behind & 1

    def accept(self, extended: int) -> Verdict:
        """Note the arrival of a number; the packet is stored if the verdict is NEXT or LATE."""
        ahead = extended - self.highest
        if ahead > 0:
            self.window = ((self.window << ahead) | 1) & FULL if ahead < WINDOW else 1
            self.highest = extended
            self.received += 1
            self.known = True
            return Verdict.NEXT
        if -ahead >= WINDOW or extended < 0:
            return Verdict.OLD
        bit = 1 << -ahead
        if self.window & bit:
            return Verdict.DUPLICATE
        self.window |= bit
        self.received += 1
        self.first = min(self.first, extended)
        return Verdict.LATE

    def follow(self, timestamp: int, step: int, arrival: int) -> None:
        """Note the clocks of the packet that is now the highest."""
        self.timestamp, self.step, self.arrival, self.lag = timestamp, step, arrival, 0.0

    def overtaken(self, lag: float) -> None:
        """Note how much longer (ns) the last packet to arrive took than the highest."""
        self.lag = lag

    def excuse(self, count: int) -> None:
        """Note packets that are not expected, because of a hold or pause."""
        self.excused += count

    def roll(self, shift: int) -> None:
        """Note by how much the SRTP rollover counter is ahead of our own numbers."""
        self.shift = shift

    def advance(self, count: int, timestamp: int, step: int, arrival: int) -> None:
        """Note `count` packets that directly follow the highest, and the clocks of the last one."""
        self.highest += count
        self.received += count
        self.timestamp, self.step, self.arrival = timestamp, step, arrival
        if self.window is not FULL:
            window = FULL if count >= WINDOW else ((self.window << count) | ((1 << count) - 1)) & FULL
            self.window = FULL if window == FULL else window  # one object shared by all sources
