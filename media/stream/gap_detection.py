"""What is missing of one stream and why: numbers that did not come, times in which nobody listened or spoke."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from media.rtp.sequence import Source
from media.stream import refused_packets
from media.stream.gaps import UNSETTLED, Reason
from media.stream.reception import AGREE

if TYPE_CHECKING:
    from media.stream.receiver import Track

#: The longest packet in use (RFC 6716: 120 ms of Opus); beyond, the sender was silent in between (DTX).
MAX_PACKET_NS = 120_000_000
#: ns of silence that are a gap unless something explains them: the longest time between two reports (RFC 3550 section
#: 6.2), in which also a sender with nothing to say shows that it is there.
QUIET = 5_000_000_000
#: Comfort noise (RFC 3389): the sender says that it is silent.
COMFORT = 13
#: Bytes of a G.723.1 payload that can only end in a silence frame of 4: alone, or after one voice frame of 24.
G723_SILENCE = (4, 28)
#: ns within which each socket of a call is emptied, twice a tick: so long before the newest packet of any stream
#: nothing of another one was waiting.
EMPTIED = 2_000_000_000
#: ns after which a call in which nobody was ever heard notes again that somebody listens.
LISTENING = 10_000_000_000
NEVER = (1 << 63) - 1


def note(track: Track, source: Source, extended: int, timestamp: int, arrival: int) -> None:
    """Note the packets missing before `extended`, without those that a hold or pause explains."""
    missing = extended - source.highest - 1
    shared = min(arrival, track.excused_until) - max(source.arrival, track.excused_from)
    # the RTP clock went on in a hold, whether the numbers did or not
    each = track.reception.packet_ns(source) if shared > 0 else _each(track, source, missing, timestamp)
    excused = _in_hold(missing, -(-shared // each), each) if shared > 0 else 0
    if excused and source.arrival < track.resumed_at and not track.kept:
        excused = min(excused, max(0, -(-shared // each) - _uncounted(track, source, missing, timestamp, arrival)))
    source.excuse(excused)
    missing -= excused
    reason = (
        Reason.RESTART if source.arrival < track.resumed_at else refused_packets.reason(track, source.arrival, missing)
    )
    end = arrival if not excused or arrival > track.excused_until else source.arrival + (missing + 1) * each
    track.gaps.add(end - missing * each, end, reason, source.ssrc, extended - missing, extended - 1)


def late(track: Track, source: Source, extended: int, first: int, arrival: int) -> None:
    """Take a late packet out of its hole; one from before the `first` heard so far shows what is missing in between."""
    missing = first - extended - 1
    if missing < 0:
        track.gaps.fill(source.ssrc, extended)
        return
    begin = arrival - (missing + 1) * track.reception.packet_ns(source)
    track.gaps.add(
        begin, begin + missing * track.reception.packet_ns(source), Reason.LOSS, source.ssrc, extended + 1, first - 1
    )


def note_time(track: Track, source: Source, end: int, reason: Reason) -> None:
    """Note the time since the last packet of a source, whatever came in it; holds and pauses are not counted."""
    _between(track, source, source.arrival + track.reception.packet_ns(source), end, reason)


def unstored(track: Track, count: int, begin: int, end: int) -> None:
    """Take packets out that the disk has not taken, and mark the time (ns) in which they came; it may go on.

    They last as long as they do, however late a busy machine sent or took them; of pictures only the time says it.
    """
    each = (
        track.reception.packet_ns(track.reception.current) if track.reception.current and track.spec.continuous else 0
    )
    track.gaps.stretch(begin, end, Reason.DISK, count * each or None)
    track.reception.lose(count)
    track.cold = None


def forgive(track: Track, begin: int, end: int) -> None:
    """Excuse holes in this time (ns; `end` = NEVER while it lasts): hold and pause."""
    if end != NEVER:
        track.since = end
    elif track.since != NEVER:
        watch(track, begin)
        track.since = NEVER
    source = track.reception.current
    if track.excused_until and (source is None or source.arrival <= track.excused_from):
        begin = min(begin, track.excused_from)  # nothing came since: one hole may span both
    track.excused_from, track.excused_until, track.cold = begin, end, None


def finish(track: Track, at: int) -> None:
    """At the end: mark what could have come while nobody listened and nothing came after, then the silence."""
    source = track.reception.current
    if source is not None and not track.kept and source.arrival < track.resumed_at:
        _between(track, source, source.arrival, track.resumed_at, Reason.RESTART)  # as many as may have come
    watch(track, at)
    track.gaps.settle()
    track.cold = None


# ---- restart ----
def resume(track: Track, at: int, kept: bool, heard: int = 0) -> None:
    """Go on as the successor of a worker, which may not have come to a hold or pause that began or ended.

    `heard`: when the newest packet came of all streams that it had at its last commit (ns), 0 if this was none of them.
    """
    quiet, pauses = track.spec.held or track.pauses.lasting, track.pauses.items
    if quiet and track.excused_until != NEVER:
        forgive(track, pauses[-1][0] if track.pauses.lasting else at, NEVER)
    elif track.excused_until == NEVER and not quiet:
        forgive(track, track.excused_from, max(track.excused_from, track.spec.since or at))
    track.cold = None
    if kept and unheard(track):
        return  # what the outage before has cost, which lost the sockets, is still to be seen
    if not kept and track.reception.current is None:
        _silent_until(track, min(at, max(heard, track.listened)) - EMPTIED)  # the clock may have been set back
    track.resumed_at, track.kept = at, kept
    if not kept and track.reception.current is not None:  # the time before is the restart's
        track.since = max(track.since, at)


def _silent_until(track: Track, end: int) -> None:
    """Mark that a stream which was never heard was listened to until then, but for an outage before."""
    outage = 0 if track.kept else track.resumed_at
    if not track.since or max(track.since, outage) >= end:
        return  # nothing is known that the outage before has not cost
    first_heard(track, outage)
    watch(track, end)
    track.gaps.settle()
    track.since, track.unsettled = end, False


def listened(tracks: Iterable[Track], now: int) -> bool:
    """Note from time to time that sockets were empty of streams that were never heard; True if it has to be saved."""
    due = [track for track in tracks if track.since and _listens_anew(track, now)]
    for track in due:
        track.listened, track.cold = now, None
    return bool(due)


def _listens_anew(track: Track, now: int) -> bool:
    """Tell whether a note is due: also where the last one is of a clock that was set back since."""
    return now < track.listened or now - max(track.since, track.listened) >= LISTENING


def unheard(track: Track) -> bool:
    """Tell whether nothing came since an outage that lost the sockets: a successor has to know of it, too."""
    return not track.kept and track.reception.last_arrival < track.resumed_at


def first_heard(track: Track, arrival: int) -> None:
    """At the first packet of a stream: note what a restart cost before it, whose numbers nobody has heard."""
    if not track.kept and track.spec.continuous and 0 < track.since < track.resumed_at:
        # one that came later than a packet's length after had nothing to say yet
        track.gaps.add(track.since, min(arrival, track.resumed_at + MAX_PACKET_NS), Reason.RESTART)
        track.since = track.resumed_at


# ---- silence ----
def watch(track: Track, until: int) -> None:
    """Mark a silence that has lasted too long, until the next packet tells more of it; none is expected in a hold."""
    source = track.reception.current
    begin = max(track.reception.last_arrival + track.reception.packet_ns(source) if source else 0, track.since)
    if not track.since or until - begin < QUIET or not track.spec.continuous or _comfort(track):
        return
    track.gaps.add(begin, until, refused_packets.reason_of_silence(track, begin, until), last=UNSETTLED)
    track.unsettled, track.cold = True, None


def broken(track: Track, source: Source | None, timestamp: int, arrival: int) -> None:
    """End a silence with a packet: it was none of a sender whose RTP clock went on (DTX, or a loss by its numbers)."""
    if arrival - track.reception.last_arrival > QUIET:
        watch(track, arrival)
    if not track.unsettled:
        return
    elapsed = arrival - source.arrival if source else 0
    moved = ((timestamp - source.timestamp) & 0xFFFFFFFF) * track.reception.unit if source else 0
    track.gaps.settle(source.arrival if source and abs(moved - elapsed) * AGREE <= elapsed else None)
    track.unsettled = False


def silent(track: Track, ssrc: int, arrival: int) -> None:
    """Take a report that says that its sender has sent nothing: up to then no packet is missing."""
    if track.since != NEVER and (track.reception.current is None or track.reception.current.ssrc == ssrc):
        track.since, track.cold = max(track.since, arrival), None


def _comfort(track: Track) -> bool:
    """Tell whether the last packet announced silence: comfort noise, a silence frame (G.729B, G.723.1A), DTX of Opus.

    G.723.1 tells by its size alone only where no sum of voice frames is the same.
    """
    name, size = track.spec.codec(track.reception.payload_type)[0].upper(), track.reception.last_size
    if track.reception.payload_type == COMFORT or name == "CN":
        return True
    if name == "G723":
        return size in G723_SILENCE
    return (name == "G729" and size % 10 == 2) or (name == "OPUS" and 0 < size <= 2)


# ---- lengths ----
def _in_hold(missing: int, fitting: int, each: int) -> int:
    """Give how many of the missing packets a hold explains, into which so many fit.

    Most senders' numbers stand still in a hold: then the few that are missing were lost beside it. Others count what
    they do not send, all of it or, where the speaker was silent at times, a good part.
    """
    lost_beside = missing * 2 < fitting and missing * each < QUIET
    return 0 if lost_beside else min(missing, fitting)


def _uncounted(track: Track, source: Source, missing: int, timestamp: int, arrival: int) -> int:
    """Give how many packets long the RTP clock went on without the numbers, 0 if it ran ahead of ours: it began anew.

    Of a hold during a restart, of which much more is missing than what fits into it, only that tells what was lost.
    """
    moved, elapsed = ((timestamp - source.timestamp) & 0xFFFFFFFF) * track.reception.unit, arrival - source.arrival
    if (moved - elapsed) * AGREE > elapsed:
        return 0
    return max(0, int(moved // track.reception.packet_ns(source)) - 1 - missing)


def _each(track: Track, source: Source, missing: int, timestamp: int) -> int:
    """Give what each missing packet lasts: by the RTP clock, unless the sender was silent in between."""
    units = ((timestamp - source.timestamp) & 0xFFFFFFFF) / (missing + 1)
    return (
        int(units * track.reception.unit)
        if 0 < units * track.reception.unit <= MAX_PACKET_NS
        else track.reception.packet_ns(source)
    )


def _between(track: Track, source: Source, begin: int, end: int, reason: Reason) -> None:
    """Note what of a time lies outside of the last hold or pause, in whole packets of the source."""
    each = track.reception.packet_ns(source)
    for since, until in _outside(track, begin, end):
        track.gaps.add(until - -(-(until - since) // each) * each, until, reason)


def _outside(track: Track, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what of a time lies outside of the last hold or pause."""
    if track.excused_until <= begin or track.excused_from >= end:
        yield begin, end
        return
    yield begin, track.excused_from
    yield track.excused_until, end
