"""Plain RTP that does not follow on from its source: a second packet in sequence must confirm it.

RFC 3550 appendix A.1 accepts a jump of the numbers as a restarted sender only after two packets in sequence: a single
one may be a stray, or forged. The same holds for a jump of the timestamp and for an unexpected payload type, which an
export would follow as well. Until then such a packet waits, so that a restarted sender loses nothing. If its source
continues as before, the packet is dropped, unless its number is missing there. If the source does not continue, several
packets confirm each other even if they are not in sequence: half of them may be lost, or share numbers with another
source. Packets under SRTP are genuine and need no confirmation.
"""

from __future__ import annotations

from itertools import compress
from typing import Any, NamedTuple

from media.rtp import header
from media.rtp.sequence import WINDOW, Source
from media.spec import StreamSpec
from media.stream.gap_detection import COMFORT, GapTracker
from media.stream.reception import Reception

SECOND = 1_000_000_000
#: Packets that wait: two in sequence are enough, the others allow for reordering and loss.
MOST = 8
#: Packets with near numbers that confirm each other though none follows another, and the least time (ns) from the first
#: to the last: a source that continues sends GOES_ON packets of usual length in that time.
ENOUGH, LASTING = 4, 60_000_000
#: Packets with which a source must continue as before until waiting ones are dropped: more than one, since the first
#: packet after a restart may overtake the last one before it.
GOES_ON = 2
#: Numbers ahead up to which a packet may be out of order: it waits until its source has passed it, and is then only
#: confirmed if its number is missing there.
OVERTAKES = 64
#: ns after which a packet stops waiting while another source of the stream sends, which would lose the fast path.
FORGOTTEN = 5 * SECOND
#: ns by which a timestamp may be ahead of the elapsed time. For sound three packets of usual length, by which
#: everything after it would be moved; for pictures, which come out of order, it may also fall back by this much.
LEAP = 60_000_000
PICTURE_LEAP = SECOND
#: Numbers ahead up to which the clock is ignored: one lost or overtaken packet is normal.
NEXT = 3
#: ns per packet of pictures, whose timestamps do not tell: 1,000 a second are 10 Mbit/s.
PICTURE_PACKET = 1_000_000
#: ns by which a packet may be early if number and timestamp agree: the others are late, and it moves none of them.
EARLY = 2 * SECOND
#: Its timestamps mark the start of a key press (RFC 4733 section 2.1); nothing is placed by them.
EVENT = "telephone-event"


class Unproven(NamedTuple):
    """A packet that waits for a second one."""

    header: header.Parsed
    packet: bytes
    # ns
    arrival: int
    # packets with which the source has since continued as before
    since: int = 0

    def to_state(self) -> list[Any]:
        """Return a form that JSON can hold."""
        return [self.packet.hex(), self.arrival, self.since]

    @classmethod
    def from_state(cls, state: list[Any]) -> Unproven:
        """Restore what `to_state` returned."""
        packet = bytes.fromhex(state[0])
        return cls(header.parse(packet), packet, state[1], state[2])


class SourceProbation:
    """The waiting packets of a stream, in order of arrival."""

    __slots__ = ("unproven",)

    def __init__(self) -> None:
        self.unproven: tuple[Unproven, ...] = ()

    def proven(
        self, spec: StreamSpec, reception: Reception, one: Unproven, *, doubtful: bool
    ) -> tuple[tuple[Unproven, ...], int]:
        """Return what to place now that a packet has come (with those that waited for it, alone, or nothing), and how
        many were dropped.
        """
        ssrc = one.header[4]
        known = (each for each in self.unproven if each.header[4] == ssrc and each.since < GOES_ON)
        near = tuple(each for each in known if _near(spec, reception.unit, each, one, doubtful))
        if any(_in_sequence(each, one) and not (doubtful and each.since) for each in near):
            self.unproven = tuple(each for each in self.unproven if each not in near)
            return (*near, one), 0
        if doubtful:
            alone = (*(each for each in near if not each.since), one)
            if len(alone) >= ENOUGH and one.arrival - alone[0].arrival >= LASTING:
                self.unproven = tuple(each for each in self.unproven if each not in alone)
                return alone, 0
            return self._keep(spec, reception, (*self.unproven, one), one.arrival)
        waiting = tuple(_gone_on(each, one) for each in self.unproven)
        missing, thrown = self._keep(spec, reception, waiting, one.arrival)
        return (one, *missing), thrown

    def _keep(
        self, spec: StreamSpec, reception: Reception, waiting: tuple[Unproven, ...], now: int
    ) -> tuple[tuple[Unproven, ...], int]:
        """Drop packets that the source has passed, and the oldest beyond the limit; return those that it left out, and
        how many were dropped.
        """
        waits = [each.since < GOES_ON or _overtakes(reception, each, now) for each in waiting]
        kept = tuple(compress(waiting, waits))[-MOST:]
        gone = (each for each, still in zip(waiting, waits, strict=True) if not still)
        missing = tuple(each for each in gone if _left_out(spec, reception, each))
        self.unproven = kept
        return missing, len(waiting) - len(kept) - len(missing)

    def drop(self) -> int:
        """Drop all waiting packets; return how many."""
        count, self.unproven = len(self.unproven), ()
        return count

    # ---- checkpoint ----
    def rarer(self) -> dict[str, Any]:
        """Return the waiting packets, if there are any."""
        return {"unproven": [each.to_state() for each in self.unproven]} if self.unproven else {}

    def restore(self, rare: dict[str, Any]) -> None:
        """Restore what `rarer` returned; missing in states of older versions."""
        self.unproven = tuple(Unproven.from_state(each) for each in rare.get("unproven", ()))


def _gone_on(each: Unproven, one: Unproven) -> Unproven:
    """Note that a packet came as expected while another one waits."""
    if each.header[4] == one.header[4]:
        return each._replace(since=each.since + 1)
    return each._replace(since=GOES_ON) if one.arrival - each.arrival > FORGOTTEN else each


def _overtakes(reception: Reception, one: Unproven, now: int) -> bool:
    """Return whether its source has not reached the number of a packet yet, but may at any moment."""
    source = reception.source_of(one.header[4])
    if source is None or now - one.arrival > FORGOTTEN:
        return False
    return 0 < source.extend(one.header[2]) - source.highest <= OVERTAKES


def _left_out(spec: StreamSpec, reception: Reception, one: Unproven) -> bool:
    """Return whether a source has passed a packet without sending its number, so that the number belongs to it.

    By its timestamp, too, the packet must lie before the newest packet of its source.
    """
    source = reception.source_of(one.header[4])
    if source is None or not source.awaits(source.extend(one.header[2])):
        return False
    _, payload_type, _, timestamp, _, _, _ = one.header
    if _is_event(spec, payload_type) or spec.codec(payload_type)[1] != spec.codec(reception.payload_type)[1]:
        return True
    back = 0 if spec.continuous else PICTURE_LEAP  # else it would overlap what came after it
    return _signed(timestamp - source.timestamp) * reception.unit <= back


def doubtful(spec: StreamSpec, reception: Reception, gaps: GapTracker, header: header.Parsed, arrival: int) -> bool:
    """Return whether a packet does not follow: by its number, its timestamp or its payload type."""
    _, payload_type, sequence, timestamp, ssrc, _, _ = header
    source = reception.source_of(ssrc)
    if source is None:
        return False
    ahead = ((sequence - source.highest + 0x8000) & 0xFFFF) - 0x8000
    moved = (timestamp - source.timestamp) & 0xFFFFFFFF
    if 0 < ahead <= NEXT and payload_type == reception.payload_type and moved * reception.unit <= LEAP:
        return False  # like nearly all
    return source.known and _off(spec, reception, gaps, source, header, arrival)


def _off(
    spec: StreamSpec, reception: Reception, gaps: GapTracker, source: Source, header: header.Parsed, arrival: int
) -> bool:
    """Return whether a packet that is not as usual does not follow."""
    _, payload_type, sequence, timestamp, _, _, _ = header
    extended = source.extend(sequence)
    ahead = extended - source.highest
    if not -WINDOW < ahead < WINDOW:
        missing = gaps.overdue(source, extended, timestamp, arrival)
        return not missing and not reception.agrees(source, extended, arrival)
    if ahead <= 0:
        return False  # late, or a duplicate: it moves nothing
    moved, elapsed = _signed(timestamp - source.timestamp), arrival - source.arrival
    event = _is_event(spec, payload_type)
    if ahead > NEXT and _hurries(
        spec, reception, source, ahead, elapsed if event else max(elapsed, moved * reception.unit)
    ):
        return True
    if event:
        return False
    if payload_type != reception.payload_type and _unexpected(spec, reception, payload_type):
        return True
    if _is_event(spec, reception.payload_type):
        return False
    return not follows(spec, reception.unit, moved, elapsed) and not _early(reception, source, ahead, moved)


def _hurries(spec: StreamSpec, reception: Reception, source: Source, ahead: int, passed: float) -> bool:
    """Return whether numbers are ahead of the elapsed time (ns), so that no packets can be missing."""
    each = reception.packet_ns(source) if spec.continuous else PICTURE_PACKET
    return ahead * each > passed + LEAP


def _early(reception: Reception, source: Source, ahead: int, moved: int) -> bool:
    """Return whether a packet lies where its number belongs, not far ahead of those that it has overtaken."""
    step = source.step or moved // ahead
    return step > 0 and moved == ahead * step and moved * reception.unit <= EARLY


def _is_event(spec: StreamSpec, payload_type: int | None) -> bool:
    return spec.codec(payload_type)[0].lower() == EVENT


def _unexpected(spec: StreamSpec, reception: Reception, payload_type: int) -> bool:
    """Return whether a payload type was not offered, or has a clock that would move everything after it."""
    if payload_type == COMFORT:
        return False
    offered: dict[int | None, int] = {number: clock for number, _, clock in spec.payloads}
    if _is_event(spec, reception.payload_type):
        return payload_type not in offered  # a different clock alone means nothing
    return offered.get(payload_type) != offered.get(reception.payload_type, 0)


def follows(spec: StreamSpec, unit: float, moved: int, elapsed: int) -> bool:
    """Return whether timestamps differ no more than the time (ns) between two packets; a clock may stand still."""
    back, leap = (0, LEAP) if spec.continuous else (PICTURE_LEAP, PICTURE_LEAP)
    return -back <= _signed(moved) * unit <= max(elapsed, 0) + leap


def _near(spec: StreamSpec, unit: float, before: Unproven, one: Unproven, doubtful: bool) -> bool:
    """Return whether two packets belong to one restart; if both are in doubt, only their numbers decide."""
    ahead = ((one.header[2] - before.header[2] + 0x8000) & 0xFFFF) - 0x8000
    moved = one.header[3] - before.header[3]
    elapsed = abs(one.arrival - before.arrival)
    if not -WINDOW < ahead < WINDOW or not ahead:
        return False
    return doubtful or follows(spec, unit, moved if ahead > 0 else -moved, elapsed)


def _in_sequence(before: Unproven, one: Unproven) -> bool:
    """Return whether one packet comes directly after or before another by its number."""
    return (one.header[2] - before.header[2]) & 0xFFFF in (1, 0xFFFF)


def _signed(value: int) -> int:
    return ((value + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
