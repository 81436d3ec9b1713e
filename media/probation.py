"""Plain RTP that does not follow what its source has sent: it has to be borne out by a second packet in sequence.

RFC 3550 appendix A.1 takes a jump of the numbers for a sender that starts anew only after two packets in sequence:
one may be a stray, or forged. The same goes for a leap of the timestamp and for an unexpected payload type, which an
export would follow just as well. Until then such a packet waits, so that a sender that does start anew loses nothing;
when its source goes on as before it is thrown away. Packets under SRTP are genuine and need no second one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from media import holes, refusals, rtp
from media.sequence import WINDOW, Source

if TYPE_CHECKING:
    from media.track import Track

SECOND = 1_000_000_000
#: Packets that wait: two in sequence are enough, the others are for those that came out of order or did not come.
MOST = 4
#: Packets with which a source goes on as before until those that waited are thrown away: more than one, since the last
#: one of before may be overtaken by the first one of a new beginning.
GOES_ON = 2
#: ns by which a timestamp may be ahead of the time that went by: of sound three packets of a usual length, since what
#: follows would be moved by so much; of pictures, which come out of order, also by which it may fall back.
LEAP = 60_000_000
PICTURE_LEAP = SECOND
#: Its timestamps are those of a key's beginning (RFC 4733 section 2.1), and nothing is placed by them.
EVENT = "telephone-event"


class Unproven(NamedTuple):
    """A packet that waits for a second one."""

    header: rtp.Parsed
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
        return cls(rtp.parse(packet), packet, state[1], state[2])


def proven(track: Track, one: Unproven, doubtful: bool) -> tuple[Unproven, ...]:
    """Give what is to be placed once a packet has come: it alone, it behind those that waited for it, or nothing."""
    ssrc = one.header[4]
    track.cold = None
    near = tuple(each for each in track.unproven if each.header[4] == ssrc and _near(track, each, one, doubtful))
    if any(_in_sequence(each, one) and not (doubtful and each.since) for each in near):
        track.unproven = tuple(each for each in track.unproven if each not in near)
        return (*near, one)
    if doubtful:
        _keep(track, (*track.unproven, one))
        return ()
    _keep(track, tuple(each._replace(since=each.since + (each.header[4] == ssrc)) for each in track.unproven))
    return (one,)


def _keep(track: Track, waiting: tuple[Unproven, ...]) -> None:
    """Throw away what the source has gone on without, and the oldest beyond the limit."""
    kept = tuple(each for each in waiting if each.since < GOES_ON)[-MOST:]
    track.foreign += len(waiting) - len(kept)
    track.unproven = kept


def doubtful(track: Track, header: rtp.Parsed, arrival: int) -> bool:
    """Tell whether a packet does not follow: by its number, its timestamp or its payload type."""
    _, payload_type, sequence, timestamp, ssrc, _, _ = header
    source = track.current
    if source is None or source.ssrc != ssrc:
        source = next((each for each in track.sources if each.ssrc == ssrc), None)
        if source is None:
            return False
    ahead = ((sequence - source.highest + 0x8000) & 0xFFFF) - 0x8000
    moved = (timestamp - source.timestamp) & 0xFFFFFFFF
    if 0 < ahead < WINDOW and payload_type == track.payload_type and moved * track.unit <= LEAP:
        return False  # as nearly all do
    return source.known and _off(track, source, header, arrival)


def _off(track: Track, source: Source, header: rtp.Parsed, arrival: int) -> bool:
    """Tell whether a packet does not follow, of one that is not as usual."""
    _, payload_type, sequence, timestamp, _, _, _ = header
    extended = source.extend(sequence)
    ahead = extended - source.highest
    if not -WINDOW < ahead < WINDOW:
        missing = refusals.overdue(track, source, extended, timestamp)
        return not missing and not holes.agrees(track, source, extended, arrival)
    if ahead <= 0 or _is_event(track, payload_type):
        return False  # late, or a second time, or no sound: it moves nothing
    if payload_type != track.payload_type and _unexpected(track, payload_type):
        return True
    before = _is_event(track, track.payload_type)
    return not before and not follows(track, timestamp - source.timestamp, arrival - source.arrival)


def _is_event(track: Track, payload_type: int) -> bool:
    return track.spec.codec(payload_type)[0].lower() == EVENT


def _unexpected(track: Track, payload_type: int) -> bool:
    """Tell whether a payload type was not offered, or has a clock by which all that follows would be placed anew."""
    if payload_type == holes.COMFORT:
        return False
    offered = {number: clock for number, _, clock in track.spec.payloads}
    return offered.get(payload_type) != offered.get(track.payload_type, 0)


def follows(track: Track, moved: int, elapsed: int) -> bool:
    """Tell whether timestamps lie no further apart than the time (ns) between two packets; a clock may stand still."""
    signed = ((moved + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
    back, leap = (0, LEAP) if track.spec.continuous else (PICTURE_LEAP, PICTURE_LEAP)
    return -back <= signed * track.unit <= max(elapsed, 0) + leap


def _near(track: Track, before: Unproven, one: Unproven, doubtful: bool) -> bool:
    """Tell whether two packets belong to one beginning; where both are in doubt their numbers alone tell."""
    ahead = ((one.header[2] - before.header[2] + 0x8000) & 0xFFFF) - 0x8000
    moved = one.header[3] - before.header[3]
    elapsed = abs(one.arrival - before.arrival)
    if not -WINDOW < ahead < WINDOW or not ahead:
        return False
    return doubtful or follows(track, moved if ahead > 0 else -moved, elapsed)


def _in_sequence(before: Unproven, one: Unproven) -> bool:
    """Tell whether one packet comes directly behind or before another by its number."""
    return (one.header[2] - before.header[2]) & 0xFFFF in (1, 0xFFFF)
