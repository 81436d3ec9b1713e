"""What is missing of one stream and why: numbers that did not come, times in which nobody listened or spoke."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from media.rtp.sequence import WINDOW, Source
from media.spec import StreamSpec
from media.stream.gaps import UNSETTLED, Gaps, Reason
from media.stream.pauses import Pauses
from media.stream.reception import AGREE, Reception
from media.stream.refused_packets import RefusedPackets

SECOND = 1_000_000_000
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
#: ns since the newest packet after which no older one is late: one that is overtaken is overtaken by what still comes.
GOING_ON = SECOND // 5
NEVER = (1 << 63) - 1


class GapTracker(Gaps):
    """The gaps of a stream, and what decides whether more of them are to be noted."""

    __slots__ = (
        "excused_from",
        "excused_until",
        "kept",
        "listened",
        "reception",
        "refused",
        "resumed_at",
        "since",
        "unsettled",
    )

    def __init__(self, reception: Reception, *, quiet: bool) -> None:
        """Begin with nothing missed; `quiet`: nothing is to come before the end of a hold or pause."""
        super().__init__()
        self.reception = reception
        self.refused = RefusedPackets()
        #: Packets missing in this time (ns) are nobody's fault: hold, pause.
        self.excused_from = 0
        self.excused_until = NEVER if quiet else 0
        #: From when on (ns) silence is a gap: answer, end of a hold, a report of silence; 0 = never, NEVER = not now.
        self.since = 0
        #: A silence is marked that the next packet may explain.
        self.unsettled = False
        #: When a successor took over; whether the sockets were those of before.
        self.resumed_at = 0
        self.kept = True
        #: When (ns) its socket was last known to be empty, while nobody was ever heard.
        self.listened = 0

    def expect(self, at: int | None) -> None:
        """Expect media from a time on (ns), None: not now; in a hold or pause not before its end."""
        self.since = NEVER if at is None or self.excused_until == NEVER else at

    # ---- packets ----
    def note(self, source: Source, extended: int, timestamp: int, arrival: int) -> None:
        """Note the packets missing before `extended`, without those that a hold or pause explains."""
        missing = extended - source.highest - 1
        shared = min(arrival, self.excused_until) - max(source.arrival, self.excused_from)
        # the RTP clock went on in a hold, whether the numbers did or not
        each = self.reception.packet_ns(source) if shared > 0 else self._each(source, missing, timestamp)
        excused = _in_hold(missing, -(-shared // each), each) if shared > 0 else 0
        if excused and source.arrival < self.resumed_at and not self.kept:
            excused = min(excused, max(0, -(-shared // each) - self._uncounted(source, missing, timestamp, arrival)))
        source.excuse(excused)
        missing -= excused
        resumed = source.arrival < self.resumed_at
        reason = Reason.RESTART if resumed else self.refused.reason(source.arrival, missing)
        end = arrival if not excused or arrival > self.excused_until else source.arrival + (missing + 1) * each
        self.add(end - missing * each, end, reason, source.ssrc, extended - missing, extended - 1)

    def late(self, source: Source, extended: int, first: int, arrival: int) -> None:
        """Take a late packet out of its gap; one from before the `first` heard so far shows what is
        missing in between.
        """
        missing = first - extended - 1
        if missing < 0:
            self.fill(source.ssrc, extended)
            return
        each = self.reception.packet_ns(source)
        begin = arrival - (missing + 1) * each
        self.add(begin, begin + missing * each, Reason.LOSS, source.ssrc, extended + 1, first - 1)

    def too_late(self, source: Source, extended: int) -> None:
        """Take note of a packet that came too late to be stored: that is why its number is missing."""
        self.name(source.ssrc, extended, Reason.LATE)

    def overdue(self, source: Source, extended: int, timestamp: int, arrival: int) -> bool:
        """Tell a late packet of this source from a sender that starts anew: it is missing, and its timestamp fits.

        Where nothing came any more it is no late one: then the newest number was not the sender's, or it has gone back.
        """
        behind = source.highest - extended
        if behind < WINDOW or arrival - source.arrival > GOING_ON or not self.holds(source.ssrc, extended):
            return False
        expected = source.timestamp - behind * source.step
        off = ((timestamp - expected + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        return abs(off) * self.reception.unit <= SECOND

    def unopened(self, packet: bytes, arrival: int) -> None:
        """Note a packet that no key opens: of the source that speaks, or of anybody while it is silent."""
        source, last = self.reception.current, self.reception.last_arrival
        if source is None or arrival - last > SECOND or int.from_bytes(packet[8:12]) == source.ssrc:
            self.refused.note(arrival, last)

    # ---- times ----
    def note_time(self, source: Source, end: int, reason: Reason) -> None:
        """Note the time since the last packet of a source, whatever came in it; holds and pauses are not counted."""
        self._between(source, source.arrival + self.reception.packet_ns(source), end, reason)

    def unstored(self, spec: StreamSpec, count: int, begin: int, end: int) -> None:
        """Mark the time (ns) in which packets came that the disk has not taken; it may go on.

        They last as long as they do, however late a busy machine sent or took them; of pictures only the time says it.
        """
        source = self.reception.current
        each = self.reception.packet_ns(source) if source and spec.continuous else 0
        self.stretch(begin, end, Reason.DISK, count * each or None)

    def forgive(self, spec: StreamSpec, begin: int, end: int) -> None:
        """Excuse what is missing in this time (ns; `end` = NEVER while it lasts): hold and pause."""
        if end != NEVER:
            self.since = end
        elif self.since != NEVER:
            self.watch(spec, begin)
            self.since = NEVER
        source = self.reception.current
        if self.excused_until and (source is None or source.arrival <= self.excused_from):
            begin = min(begin, self.excused_from)  # nothing came since: one gap may span both
        self.excused_from, self.excused_until = begin, end

    def finish(self, spec: StreamSpec, at: int) -> None:
        """At the end: mark what could have come while nobody listened and nothing came after, then the silence."""
        source = self.reception.current
        if source is not None and not self.kept and source.arrival < self.resumed_at:
            self._between(source, source.arrival, self.resumed_at, Reason.RESTART)  # as many as may have come
        self.watch(spec, at)
        self.settle()

    # ---- restart ----
    def resume(self, spec: StreamSpec, pauses: Pauses, at: int, kept: bool, heard: int = 0) -> None:
        """Go on as the successor of a worker, which may not have come to a hold or pause that began or ended.

        `heard`: when the newest packet came of all streams that it had at its last commit (ns), 0 if this was none of
        them.
        """
        quiet = spec.held or pauses.lasting
        if quiet and self.excused_until != NEVER:
            self.forgive(spec, pauses.items[-1][0] if pauses.lasting else at, NEVER)
        elif self.excused_until == NEVER and not quiet:
            self.forgive(spec, self.excused_from, max(self.excused_from, spec.since or at))
        if kept and self.unheard:
            return  # what the restart before has cost, which lost the sockets, is still to be seen
        if not kept and self.reception.current is None:
            # the clock may have been set back
            self._silent_until(spec, min(at, max(heard, self.listened)) - EMPTIED)
        self.resumed_at, self.kept = at, kept
        if not kept and self.reception.current is not None:  # the time before is the restart's
            self.since = max(self.since, at)

    def _silent_until(self, spec: StreamSpec, end: int) -> None:
        """Mark that a stream which was never heard was listened to until then, but for a restart before."""
        restart = 0 if self.kept else self.resumed_at
        if not self.since or max(self.since, restart) >= end:
            return  # nothing is known that the restart before has not cost
        self.first_heard(spec, restart)
        self.watch(spec, end)
        self.settle()
        self.since, self.unsettled = end, False

    def listens(self, now: int) -> bool:
        """Note from time to time that the socket of a stream that was never heard was empty; True if it was noted.

        Also where the last note is of a clock that was set back since.
        """
        if not self.since:
            return False
        if now >= self.listened and now - max(self.since, self.listened) < LISTENING:
            return False
        self.listened = now
        return True

    @property
    def unheard(self) -> bool:
        """Tell whether nothing came since a restart that lost the sockets: a successor has to know of it, too."""
        return not self.kept and self.reception.last_arrival < self.resumed_at

    def first_heard(self, spec: StreamSpec, arrival: int) -> None:
        """At the first packet of a stream: note what a restart cost before it, whose numbers nobody has heard."""
        if not self.kept and spec.continuous and 0 < self.since < self.resumed_at:
            # one that came later than a packet's length after had nothing to say yet
            self.add(self.since, min(arrival, self.resumed_at + MAX_PACKET_NS), Reason.RESTART)
            self.since = self.resumed_at

    # ---- silence ----
    def watch(self, spec: StreamSpec, until: int) -> None:
        """Mark a silence that has lasted too long, until the next packet tells more of it; none is expected in
        a hold.
        """
        reception = self.reception
        source, last = reception.current, reception.last_arrival
        begin = max(last + reception.packet_ns(source) if source else 0, self.since)
        if not self.since or until - begin < QUIET or not spec.continuous or _comfort(spec, reception):
            return
        self.add(begin, until, self.refused.reason_of_silence(begin, until, last), last=UNSETTLED)
        self.unsettled = True

    def broken(self, spec: StreamSpec, source: Source | None, timestamp: int, arrival: int) -> None:
        """End a silence with a packet: it was none of a sender whose RTP clock went on (DTX, or a loss by its
        numbers).
        """
        if arrival - self.reception.last_arrival > QUIET:
            self.watch(spec, arrival)
        if not self.unsettled:
            return
        elapsed = arrival - source.arrival if source else 0
        moved = ((timestamp - source.timestamp) & 0xFFFFFFFF) * self.reception.unit if source else 0
        self.settle(source.arrival if source and abs(moved - elapsed) * AGREE <= elapsed else None)
        self.unsettled = False

    def silent(self, ssrc: int, arrival: int) -> bool:
        """Take a report that says that its sender has sent nothing: up to then no packet is missing.

        False if that says nothing of this stream.
        """
        source = self.reception.current
        if self.since == NEVER or (source is not None and source.ssrc != ssrc):
            return False
        self.since = max(self.since, arrival)
        return True

    # ---- lengths ----
    def _uncounted(self, source: Source, missing: int, timestamp: int, arrival: int) -> int:
        """Give how many packets long the RTP clock went on without the numbers, 0 if it ran ahead of ours: it began
        anew.

        Of a hold during a restart, of which much more is missing than what fits into it, only that tells what was lost.
        """
        moved = ((timestamp - source.timestamp) & 0xFFFFFFFF) * self.reception.unit
        elapsed = arrival - source.arrival
        if (moved - elapsed) * AGREE > elapsed:
            return 0
        return max(0, int(moved // self.reception.packet_ns(source)) - 1 - missing)

    def _each(self, source: Source, missing: int, timestamp: int) -> int:
        """Give what each missing packet lasts: by the RTP clock, unless the sender was silent in between."""
        each = ((timestamp - source.timestamp) & 0xFFFFFFFF) / (missing + 1) * self.reception.unit
        return int(each) if 0 < each <= MAX_PACKET_NS else self.reception.packet_ns(source)

    def _between(self, source: Source, begin: int, end: int, reason: Reason) -> None:
        """Note what of a time lies outside of the last hold or pause, in whole packets of the source."""
        each = self.reception.packet_ns(source)
        for since, until in self._outside(begin, end):
            self.add(until - -(-(until - since) // each) * each, until, reason)

    def _outside(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield what of a time lies outside of the last hold or pause."""
        if self.excused_until <= begin or self.excused_from >= end:
            yield begin, end
            return
        yield begin, self.excused_from
        yield self.excused_until, end

    # ---- checkpoint ----
    def state(self) -> dict[str, Any]:
        """Give what a successor has to know beside the gaps, and that changes rarely."""
        return {
            "excused": [self.excused_from, self.excused_until],
            "since": self.since if self.since > self.reception.last_arrival else 0,
            "refused": self.refused.state(),
        }

    def rarer(self) -> dict[str, Any]:
        """Give what few streams have."""
        rare: dict[str, Any] = {}
        if self.listened and self.reception.current is None:
            rare["listened"] = self.listened
        if self.unheard:
            rare["outage"] = self.resumed_at
        return rare

    def restore(self, missing_ns: int, rare: dict[str, Any]) -> None:
        """Take back what `state` and `rarer` gave."""
        self.excused_from, self.excused_until = rare["excused"]
        self.since = rare["since"]
        self.listened = rare.get("listened", 0)
        if "outage" in rare:
            self.resumed_at, self.kept = rare["outage"], False
        count, first = rare["refused"]
        self.refused.restore((count, first))
        self.items, self.missing_ns = tuple(tuple(gap) for gap in rare["gaps"]), missing_ns
        self.unsettled = any(gap[-1] == UNSETTLED for gap in self.items)

    def go_on(self) -> None:
        """Note after a restart that packets came since `state`."""
        self.since = self.since or self.reception.last_arrival


def _comfort(spec: StreamSpec, reception: Reception) -> bool:
    """Tell whether the last packet announced silence: comfort noise, a silence frame (G.729B, G.723.1A), DTX of Opus.

    G.723.1 tells by its size alone only where no sum of voice frames is the same.
    """
    name, size = spec.codec(reception.payload_type)[0].upper(), reception.last_size
    if reception.payload_type == COMFORT or name == "CN":
        return True
    if name == "G723":
        return size in G723_SILENCE
    return (name == "G729" and size % 10 == 2) or (name == "OPUS" and 0 < size <= 2)


def _in_hold(missing: int, fitting: int, each: int) -> int:
    """Give how many of the missing packets a hold explains, into which so many fit.

    Most senders' numbers stand still in a hold: then the few that are missing were lost beside it. Others count what
    they do not send, all of it or, where the speaker was silent at times, a good part.
    """
    lost_beside = missing * 2 < fitting and missing * each < QUIET
    return 0 if lost_beside else min(missing, fitting)
