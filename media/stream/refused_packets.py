"""Packets that came and are not stored: too late to be told from a repetition, or opened by no key.

They change nothing but the reason of the gap that they leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.rtp.sequence import WINDOW, Source
from media.stream.gaps import Reason

if TYPE_CHECKING:
    from media.stream.receiver import Track

SECOND = 1_000_000_000
#: srtp_err_status_replay_old of libsrtp: behind its window, not authenticated.
OLD = 10
#: Of the packets missing in a gap, one in so many came and failed authentication: then that is why.
SHARE = 2
#: ns since the newest packet after which no older one is late: one that is overtaken is overtaken by what still comes.
GOING_ON = SECOND // 5
#: ns of silence for each packet that failed: no codec sends fewer.
EACH = SECOND


def overdue(track: Track, source: Source, extended: int, timestamp: int, arrival: int) -> bool:
    """Tell a late packet of this source from a sender that starts anew: it is missing, and its timestamp fits.

    Where nothing came any more it is no late one: then the newest number was not the sender's, or it has gone back.
    """
    behind = source.highest - extended
    if behind < WINDOW or arrival - source.arrival > GOING_ON or not track.gaps.holds(source.ssrc, extended):
        return False
    expected = source.timestamp - behind * source.step
    off = ((timestamp - expected + 0x80000000) & 0xFFFFFFFF) - 0x80000000
    return abs(off) * track.reception.unit <= SECOND


def too_late(track: Track, packet: bytes) -> bool:
    """Tell whether a packet that libsrtp found too old is a genuine one that is missing; then it is counted as late."""
    keyring, ssrc = track.keyring, int.from_bytes(packet[8:12])
    source = track.reception.source_of(ssrc)
    if keyring is None or source is None:
        return False
    extended = source.extend(int.from_bytes(packet[2:4]))
    if not track.gaps.holds(ssrc, extended):
        return False
    genuine = keyring.contexts[0].genuine(packet, extended + (source.shift << 16))
    if genuine:
        late(track, source, extended)
    return genuine


def late(track: Track, source: Source, extended: int) -> None:
    """Count a packet that came too late to be stored."""
    track.reception.miss()
    if track.gaps.name(source.ssrc, extended, Reason.LATE):
        track.cold = None


def unopened(track: Track, packet: bytes, arrival: int) -> None:
    """Note a packet that no key opens: of the source that speaks, or of anybody while it is silent."""
    source = track.reception.current
    if source is None or arrival - track.reception.last_arrival > SECOND or int.from_bytes(packet[8:12]) == source.ssrc:
        count, first = track.refused
        track.refused = (count + 1, first) if first > track.reception.last_arrival else (1, arrival)


def reason(track: Track, since: int, missing: int) -> Reason:
    """Say why as many packets are missing since then (ns)."""
    count, first = track.refused
    return Reason.DECRYPT if first > since and count * SHARE >= missing else Reason.LOSS


def reason_of_silence(track: Track, begin: int, end: int) -> Reason:
    """Say why nothing was stored in a time (ns)."""
    count, first = track.refused
    return Reason.DECRYPT if first > track.reception.last_arrival and count * EACH >= end - begin else Reason.NO_MEDIA
