"""Plain RTP that does not follow what its source has sent: it has to be borne out by a second packet in sequence.

RFC 3550 appendix A.1 takes a jump of the numbers for a sender that starts anew only after two packets in sequence:
one may be a stray, or forged. The same goes for a leap of the timestamp and for an unexpected payload type, which an
export would follow just as well. Until then such a packet waits, so that a sender that does start anew loses nothing;
when its source goes on as before it is thrown away, unless its number is missing there. Where the source does not go on
several packets stand for it that are not in sequence: half of them may be lost, or their numbers shared with another
source. Packets under SRTP are genuine and need no second one.
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
#: Packets that wait: two in sequence are enough, the others are for those that came out of order or did not come.
MOST = 8
#: Packets of near numbers that stand for their source though none follows another, and the least time (ns) between the
#: first and the last: of a source that goes on it is long enough for GOES_ON packets of a usual length.
ENOUGH, LASTING = 4, 60_000_000
#: Packets with which a source goes on as before until those that waited are thrown away: more than one, since the last
#: one of before may be overtaken by the first one of a new beginning.
GOES_ON = 2
#: Numbers ahead up to which a packet may have overtaken those that come now: it waits until its source has passed it,
#: and nothing but its missing there bears it out any more.
OVERTAKES = 64
#: ns after which a packet no longer waits while another source of the stream sends; it would cost that the fast path.
FORGOTTEN = 5 * SECOND
#: ns by which a timestamp may be ahead of the time that went by: of sound three packets of a usual length, since what
#: follows would be moved by so much; of pictures, which come out of order, also by which it may fall back.
LEAP = 60_000_000
PICTURE_LEAP = SECOND
#: Numbers ahead up to which no clock is asked: one lost or overtaken packet is the rule.
NEXT = 3
#: ns of a packet of pictures, whose timestamps say nothing of it: 1,000 a second are 10 Mbit/s.
PICTURE_PACKET = 1_000_000
#: ns by which a packet may be ahead of time if number and timestamp agree: others are late, and it moves none of them.
EARLY = 2 * SECOND
#: Its timestamps are those of a key's beginning (RFC 4733 section 2.1), and nothing is placed by them.
EVENT = "telephone-event"


class Unproven(NamedTuple):
    """A packet that waits for a second one."""

    header: header.Parsed
    packet: bytes
    # ns
    arrival: int
    # packets since with which the source went on as before
    since: int = 0

    def to_state(self) -> list[Any]:
        """Give a form that JSON can carry."""
        return [self.packet.hex(), self.arrival, self.since]

    @classmethod
    def from_state(cls, state: list[Any]) -> Unproven:
        """Take back what `to_state` gave."""
        packet = bytes.fromhex(state[0])
        return cls(header.parse(packet), packet, state[1], state[2])


class SourceProbation:
    """The packets of a stream that wait, in the order of their arrivals."""

    __slots__ = ("unproven",)

    def __init__(self) -> None:
        self.unproven: tuple[Unproven, ...] = ()

    def proven(
        self, spec: StreamSpec, reception: Reception, one: Unproven, *, doubtful: bool
    ) -> tuple[tuple[Unproven, ...], int]:
        """Give what is to be placed once a packet has come: it alone, with those that waited for it, or nothing; and
        how many were thrown away.
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
        """Throw away what the source has gone on without, and the oldest beyond the limit; give what it has left out,
        and how many were thrown away.
        """
        waits = [each.since < GOES_ON or _overtakes(reception, each, now) for each in waiting]
        kept = tuple(compress(waiting, waits))[-MOST:]
        gone = (each for each, still in zip(waiting, waits, strict=True) if not still)
        missing = tuple(each for each in gone if _left_out(spec, reception, each))
        self.unproven = kept
        return missing, len(waiting) - len(kept) - len(missing)

    def drop(self) -> int:
        """Throw away all that wait; give how many."""
        count, self.unproven = len(self.unproven), ()
        return count

    # ---- checkpoint ----
    def rarer(self) -> dict[str, Any]:
        """Give what waits, if anything does."""
        return {"unproven": [each.to_state() for each in self.unproven]} if self.unproven else {}

    def restore(self, rare: dict[str, Any]) -> None:
        """Take back what `rarer` gave; a version before this one did not write it."""
        self.unproven = tuple(Unproven.from_state(each) for each in rare.get("unproven", ()))


def _gone_on(each: Unproven, one: Unproven) -> Unproven:
    """Note that a packet came as expected while another one waits."""
    if each.header[4] == one.header[4]:
        return each._replace(since=each.since + 1)
    return each._replace(since=GOES_ON) if one.arrival - each.arrival > FORGOTTEN else each


def _overtakes(reception: Reception, one: Unproven, now: int) -> bool:
    """Tell whether its source has not come to the number of a packet yet, but may at any moment."""
    source = reception.source_of(one.header[4])
    if source is None or now - one.arrival > FORGOTTEN:
        return False
    return 0 < source.extend(one.header[2]) - source.highest <= OVERTAKES


def _left_out(spec: StreamSpec, reception: Reception, one: Unproven) -> bool:
    """Tell whether a source has gone on to beyond a packet and has not sent its number, which then is its own.

    It has to lie before what its source has come to by its timestamp too.
    """
    source = reception.source_of(one.header[4])
    if source is None or not source.awaits(source.extend(one.header[2])):
        return False
    _, payload_type, _, timestamp, _, _, _ = one.header
    if _is_event(spec, payload_type) or spec.codec(payload_type)[1] != spec.codec(reception.payload_type)[1]:
        return True
    back = 0 if spec.continuous else PICTURE_LEAP  # else it would lie over what came behind it
    return _signed(timestamp - source.timestamp) * reception.unit <= back


def doubtful(spec: StreamSpec, reception: Reception, gaps: GapTracker, header: header.Parsed, arrival: int) -> bool:
    """Tell whether a packet does not follow: by its number, its timestamp or its payload type."""
    _, payload_type, sequence, timestamp, ssrc, _, _ = header
    source = reception.source_of(ssrc)
    if source is None:
        return False
    ahead = ((sequence - source.highest + 0x8000) & 0xFFFF) - 0x8000
    moved = (timestamp - source.timestamp) & 0xFFFFFFFF
    if 0 < ahead <= NEXT and payload_type == reception.payload_type and moved * reception.unit <= LEAP:
        return False  # as nearly all do
    return source.known and _off(spec, reception, gaps, source, header, arrival)


def _off(
    spec: StreamSpec, reception: Reception, gaps: GapTracker, source: Source, header: header.Parsed, arrival: int
) -> bool:
    """Tell whether a packet does not follow, of one that is not as usual."""
    _, payload_type, sequence, timestamp, _, _, _ = header
    extended = source.extend(sequence)
    ahead = extended - source.highest
    if not -WINDOW < ahead < WINDOW:
        missing = gaps.overdue(source, extended, timestamp, arrival)
        return not missing and not reception.agrees(source, extended, arrival)
    if ahead <= 0:
        return False  # late, or a second time: it moves nothing
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
    """Tell whether numbers are further ahead than the time (ns) that has passed, so that packets cannot be missing."""
    each = reception.packet_ns(source) if spec.continuous else PICTURE_PACKET
    return ahead * each > passed + LEAP


def _early(reception: Reception, source: Source, ahead: int, moved: int) -> bool:
    """Tell whether a packet lies where its number belongs, not far ahead of those that it has overtaken."""
    step = source.step or moved // ahead
    return step > 0 and moved == ahead * step and moved * reception.unit <= EARLY


def _is_event(spec: StreamSpec, payload_type: int) -> bool:
    return spec.codec(payload_type)[0].lower() == EVENT


def _unexpected(spec: StreamSpec, reception: Reception, payload_type: int) -> bool:
    """Tell whether a payload type was not offered, or has a clock by which all that follows would be placed anew."""
    if payload_type == COMFORT:
        return False
    offered = {number: clock for number, _, clock in spec.payloads}
    if _is_event(spec, reception.payload_type):
        return payload_type not in offered  # that its clock is another one says nothing
    return offered.get(payload_type) != offered.get(reception.payload_type, 0)


def follows(spec: StreamSpec, unit: float, moved: int, elapsed: int) -> bool:
    """Tell whether timestamps lie no further apart than the time (ns) between two packets; a clock may stand still."""
    back, leap = (0, LEAP) if spec.continuous else (PICTURE_LEAP, PICTURE_LEAP)
    return -back <= _signed(moved) * unit <= max(elapsed, 0) + leap


def _near(spec: StreamSpec, unit: float, before: Unproven, one: Unproven, doubtful: bool) -> bool:
    """Tell whether two packets belong to one beginning; where both are in doubt their numbers alone tell."""
    ahead = ((one.header[2] - before.header[2] + 0x8000) & 0xFFFF) - 0x8000
    moved = one.header[3] - before.header[3]
    elapsed = abs(one.arrival - before.arrival)
    if not -WINDOW < ahead < WINDOW or not ahead:
        return False
    return doubtful or follows(spec, unit, moved if ahead > 0 else -moved, elapsed)


def _in_sequence(before: Unproven, one: Unproven) -> bool:
    """Tell whether one packet comes directly behind or before another by its number."""
    return (one.header[2] - before.header[2]) & 0xFFFF in (1, 0xFFFF)


def _signed(value: int) -> int:
    return ((value + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
