"""What is missing from one stream and why: numbers that did not come, and times in which nobody listened or spoke."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from media.rtp.sequence import WINDOW, Source
from media.spec import StreamSpec
from media.stream.gaps import UNSETTLED, Gaps, Reason
from media.stream.pauses import Interval, Pauses
from media.stream.reception import AGREE, Reception

SECOND = 1_000_000_000
#: The longest packet in use (RFC 6716: 120 ms of Opus); beyond it, the sender was silent (DTX).
MAX_PACKET_NS = 120_000_000
#: Unexplained silence of this many ns is a gap: the longest time between two reports (RFC 3550 section 6.2), within
#: which even a sender with nothing to say reports.
QUIET = 5_000_000_000
#: Comfort noise (RFC 3389): the sender says that it is silent.
COMFORT = 13
#: Sizes of a G.723.1 payload that can only end in a 4-byte silence frame: alone, or after one 24-byte voice frame.
G723_SILENCE = (4, 28)
#: ns within which each socket of a call is emptied, twice a tick: nothing older than this, compared with the newest
#: packet of any stream, was still waiting in another socket.
EMPTIED = 2_000_000_000
#: ns after which a call that never received anything notes again that its sockets are read.
LISTENING = 10_000_000_000
#: ns after the newest packet beyond which no older packet counts as late: reordering needs packets that still arrive.
GOING_ON = SECOND // 5
#: If one in this many of the packets missing in a gap failed authentication, that is the reason.
SHARE = 2
#: ns of silence per packet that failed authentication: no codec sends fewer packets.
EACH = SECOND
#: In a checkpoint, `Expected.NOT_YET` and `Expected.NOT_NOW` as times, and the end of what still lasts.
_NOT_YET, _NOT_NOW = 0, (1 << 63) - 1
_LASTS = _NOT_NOW


class Expected(Enum):
    """Why no silence is a gap."""

    NOT_YET = "not yet"
    # in a hold or pause, or the stream was removed
    NOT_NOW = "not now"


class RefusedPackets(NamedTuple):
    """Packets that no key opened since the last good one: they only change the reason of the gap that they leave."""

    packets: int
    # ns, when the first of them came
    first: int


class GapTracker(Gaps):
    """The gaps of a stream, and what decides whether more are noted."""

    __slots__ = ("excused", "kept", "listened", "reception", "refused", "resumed_at", "since", "unsettled")

    def __init__(self, reception: Reception, *, quiet: bool) -> None:
        """Start with no gaps; `quiet`: nothing is expected before the end of a hold or pause."""
        super().__init__()
        self.reception = reception
        self.refused: RefusedPackets | None = None
        #: Packets missing in this time (ns; to None while it lasts) are explained by a hold or pause, if there was one.
        self.excused: Interval | None = (0, None) if quiet else None
        #: From when (ns) silence is a gap: answer, end of a hold, a report of silence.
        self.since: int | Expected = Expected.NOT_YET
        #: A silence is noted that the next packet may explain.
        self.unsettled = False
        #: When a successor took over, if one did, and whether it kept the sockets.
        self.resumed_at: int | None = None
        self.kept = True
        #: When (ns) the socket was last known to be empty, while nothing was ever received.
        self.listened: int | None = None

    def expect(self, at: int | None) -> None:
        """Expect media from a time (ns), None: not now; during a hold or pause not before its end."""
        self.since = Expected.NOT_NOW if at is None or self.excusing else at

    @property
    def excusing(self) -> bool:
        """Return whether a hold or pause lasts."""
        return self.excused is not None and self.excused[1] is None

    def before_restart(self, arrival: int) -> bool:
        """Return whether a time (ns) lies before a successor took over."""
        return self.resumed_at is not None and arrival < self.resumed_at

    # ---- packets ----
    def note(self, source: Source, extended: int, timestamp: int, arrival: int) -> None:
        """Note the packets missing before `extended`, except those that a hold or pause explains."""
        missing = extended - source.highest - 1
        begin, until = self.excused or (arrival, arrival)
        shared = min(arrival, arrival if until is None else until) - max(source.arrival, begin)
        # the RTP clock ran on during a hold, whether or not the numbers did
        each = self.reception.packet_ns(source) if shared > 0 else self._each(source, missing, timestamp)
        excused = _in_hold(missing, -(-shared // each), each) if shared > 0 else 0
        if excused and self.before_restart(source.arrival) and not self.kept:
            excused = min(excused, max(0, -(-shared // each) - self._uncounted(source, missing, timestamp, arrival)))
        source.excuse(excused)
        missing -= excused
        reason = Reason.RESTART if self.before_restart(source.arrival) else self._reason(source.arrival, missing)
        after = not excused or (until is not None and arrival > until)
        end = arrival if after else source.arrival + (missing + 1) * each
        self.add(end - missing * each, end, reason, source.ssrc, extended - missing, extended - 1)

    def late(self, source: Source, extended: int, first: int, arrival: int) -> None:
        """Remove a late packet from its gap; one from before the `first` received so far shows a gap in between."""
        missing = first - extended - 1
        if missing < 0:
            self.fill(source.ssrc, extended)
            return
        each = self.reception.packet_ns(source)
        begin = arrival - (missing + 1) * each
        self.add(begin, begin + missing * each, Reason.LOSS, source.ssrc, extended + 1, first - 1)

    def too_late(self, source: Source, extended: int) -> None:
        """Note that a packet came too late to be stored, which is why its number is missing."""
        self.name(source.ssrc, extended, Reason.LATE)

    def overdue(self, source: Source, extended: int, timestamp: int, arrival: int) -> bool:
        """Return whether a packet of this source is late and not from a restarted sender.

        It is late if its number is missing and its timestamp fits. If nothing else comes any more, it is not late: the
        newest number was not the sender's, or the sender went back.
        """
        behind = source.highest - extended
        if behind < WINDOW or arrival - source.arrival > GOING_ON or not self.holds(source.ssrc, extended):
            return False
        expected = source.timestamp - behind * source.step
        off = ((timestamp - expected + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        return abs(off) * self.reception.unit <= SECOND

    def unopened(self, packet: bytes, arrival: int) -> None:
        """Note a packet that no key opens, from the current source, or from anybody while that is silent."""
        source, last = self.reception.current, self.reception.last_arrival
        if source is None or arrival - last > SECOND or int.from_bytes(packet[8:12]) == source.ssrc:
            known = self.refused
            goes_on = known is not None and known.first > last
            self.refused = (
                known._replace(packets=known.packets + 1) if known and goes_on else RefusedPackets(1, arrival)
            )

    def _reason(self, since: int, missing: int) -> Reason:
        """Return why this many packets are missing since then (ns)."""
        refused = self.refused
        most = refused is not None and refused.first > since and refused.packets * SHARE >= missing
        return Reason.DECRYPT if most else Reason.LOSS

    def _reason_of_silence(self, begin: int, end: int) -> Reason:
        """Return why nothing was stored in a time (ns) after the newest packet."""
        refused = self.refused
        after = refused is not None and refused.first > self.reception.last_arrival
        return Reason.DECRYPT if refused and after and refused.packets * EACH >= end - begin else Reason.NO_MEDIA

    # ---- times ----
    def note_time(self, source: Source, end: int, reason: Reason) -> None:
        """Note the time since the last packet of a source, except holds and pauses."""
        self._between(source, source.arrival + self.reception.packet_ns(source), end, reason)

    def unstored(self, spec: StreamSpec, count: int, begin: int, end: int) -> None:
        """Note the time (ns) in which packets came that were not written to disk; it may continue.

        The packets' own length counts, however late a busy machine sent or read them; for pictures only the time.
        """
        source = self.reception.current
        each = self.reception.packet_ns(source) if source and spec.continuous else 0
        self.stretch(begin, end, Reason.DISK, count * each or None)

    def forgive(self, spec: StreamSpec, begin: int, end: int | None) -> None:
        """Excuse what is missing in this time (ns; to None while it lasts): hold and pause."""
        if end is not None:
            self.since = end
        elif self.since is not Expected.NOT_NOW:
            self.watch(spec, begin)
            self.since = Expected.NOT_NOW
        source = self.reception.current
        if self.excused and (source is None or source.arrival <= self.excused[0]):
            begin = min(begin, self.excused[0])  # nothing came since, so one gap may span both
        self.excused = begin, end

    def end_excuse(self, spec: StreamSpec, end: int | None) -> None:
        """End the hold or pause that lasts; None: another one still does."""
        self.forgive(spec, self.excused[0] if self.excused else 0, end)

    def finish(self, spec: StreamSpec, at: int) -> None:
        """At the end, note the time in which nobody listened and after which nothing came, then the silence."""
        source = self.reception.current
        if source is not None and not self.kept and self.resumed_at is not None and source.arrival < self.resumed_at:
            self._between(source, source.arrival, self.resumed_at, Reason.RESTART)  # as many packets as may have come
        self.watch(spec, at)
        self.settle()

    # ---- restart ----
    def resume(self, spec: StreamSpec, pauses: Pauses, at: int, kept: bool, heard: int = 0) -> None:
        """Continue as the successor of a worker, which may have missed the start or end of a hold or pause.

        `heard`: when the newest packet of all streams in its last commit came (ns); 0 if this stream was not in it.
        """
        quiet = spec.held or pauses.lasting
        if quiet and not self.excusing:
            self.forgive(spec, pauses.items[-1][0] if pauses.lasting else at, None)
        elif self.excused and self.excusing and not quiet:
            self.end_excuse(spec, max(self.excused[0], spec.since or at))
        if kept and self.unheard:
            return  # what an earlier restart that lost the sockets has cost is still open
        if not kept and self.reception.current is None:
            # the clock may have been set back
            self._silent_until(spec, min(at, max(heard, self.listened or heard)) - EMPTIED)
        self.resumed_at, self.kept = at, kept
        if not kept and self.reception.current is not None:  # the time before belongs to the restart
            self._expect_from(at)

    def _silent_until(self, spec: StreamSpec, end: int) -> None:
        """Note that a stream that was never heard was listened to until then, except for an earlier restart."""
        restart = self.resumed_at if not self.kept and self.resumed_at is not None else 0
        if not isinstance(self.since, int) or max(self.since, restart) >= end:
            return  # nothing is known beyond what the earlier restart has cost
        self.first_heard(spec, restart)
        self.watch(spec, end)
        self.settle()
        self.since, self.unsettled = end, False

    def listens(self, now: int) -> bool:
        """Note from time to time that the socket of a stream that was never heard was empty; True if it was noted.

        Also note it if the last note is from a clock that has since been set back.
        """
        if not isinstance(self.since, int):
            return False
        set_back = self.listened is not None and now < self.listened
        if not set_back and now - max(self.since, self.listened or self.since) < LISTENING:
            return False
        self.listened = now
        return True

    @property
    def unheard(self) -> bool:
        """Return whether nothing came since a restart that lost the sockets; a successor has to know it too."""
        return not self.kept and self.before_restart(self.reception.last_arrival)

    def first_heard(self, spec: StreamSpec, arrival: int) -> None:
        """At the first packet of a stream, note what a restart cost before it; those numbers are unknown."""
        since, restart = self.since, self.resumed_at
        if self.kept or not spec.continuous or not isinstance(since, int) or restart is None or since >= restart:
            return
        # a packet that came more than one packet length later had nothing before it
        self.add(since, min(arrival, restart + MAX_PACKET_NS), Reason.RESTART)
        self.since = restart

    # ---- silence ----
    def watch(self, spec: StreamSpec, until: int) -> None:
        """Note a silence that has lasted too long, until the next packet explains it; in a hold none is expected."""
        reception = self.reception
        if not isinstance(self.since, int):
            return
        source = reception.current
        begin = max(reception.last_arrival + reception.packet_ns(source) if source else 0, self.since)
        if until - begin < QUIET or not spec.continuous or _comfort(spec, reception):
            return
        self.add(begin, until, self._reason_of_silence(begin, until), last=UNSETTLED)
        self.unsettled = True

    def broken(self, spec: StreamSpec, source: Source | None, timestamp: int, arrival: int) -> None:
        """End a silence with a packet; it was no gap if the sender's RTP clock ran on (DTX, or a numbered loss)."""
        if arrival - self.reception.last_arrival > QUIET:
            self.watch(spec, arrival)
        if not self.unsettled:
            return
        elapsed = arrival - source.arrival if source else 0
        moved = ((timestamp - source.timestamp) & 0xFFFFFFFF) * self.reception.unit if source else 0
        self.settle(source.arrival if source and abs(moved - elapsed) * AGREE <= elapsed else None)
        self.unsettled = False

    def silent(self, ssrc: int, arrival: int) -> None:
        """Process a report that its sender has sent nothing: up to then no packet is missing."""
        source = self.reception.current
        if source is None or source.ssrc == ssrc:
            self._expect_from(arrival)

    def _expect_from(self, at: int) -> None:
        """Let no silence before a time (ns) be a gap."""
        if self.since is not Expected.NOT_NOW:
            self.since = max(self.since, at) if isinstance(self.since, int) else at

    # ---- lengths ----
    def _uncounted(self, source: Source, missing: int, timestamp: int, arrival: int) -> int:
        """Return by how many packets the RTP clock ran on without the numbers; 0 if it ran ahead of ours (a restart).

        For a hold during a restart, when much more is missing than fits into it, only this tells what was lost.
        """
        moved = ((timestamp - source.timestamp) & 0xFFFFFFFF) * self.reception.unit
        elapsed = arrival - source.arrival
        if (moved - elapsed) * AGREE > elapsed:
            return 0
        return max(0, int(moved // self.reception.packet_ns(source)) - 1 - missing)

    def _each(self, source: Source, missing: int, timestamp: int) -> int:
        """Return the length of each missing packet: by the RTP clock, unless the sender was silent in between."""
        each = ((timestamp - source.timestamp) & 0xFFFFFFFF) / (missing + 1) * self.reception.unit
        return int(each) if 0 < each <= MAX_PACKET_NS else self.reception.packet_ns(source)

    def _between(self, source: Source, begin: int, end: int, reason: Reason) -> None:
        """Note the part of a time outside the last hold or pause, in whole packets of the source."""
        each = self.reception.packet_ns(source)
        for since, until in self._outside(begin, end):
            self.add(until - -(-(until - since) // each) * each, until, reason)

    def _outside(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of a time outside the last hold or pause."""
        since, until = self.excused or (end, end)
        if since >= end or (until is not None and until <= begin):
            yield begin, end
            return
        yield begin, since
        if until is not None:
            yield until, end

    # ---- checkpoint ----
    def state(self) -> dict[str, Any]:
        """Return what a successor has to know besides the gaps, and that changes rarely."""
        begin, end = self.excused or (0, 0)
        return {
            "excused": [begin, _LASTS if end is None else end],
            "since": self._since_of_state(),
            "refused": self.refused or (0, 0),
        }

    def _since_of_state(self) -> int:
        if self.since is Expected.NOT_NOW:
            return _NOT_NOW
        return self.since if isinstance(self.since, int) and self.since > self.reception.last_arrival else _NOT_YET

    def steady(self) -> tuple[object, ...]:
        """Return all of it as values to compare."""
        return (
            self.revision, self.missing_ns, self.excused, self.since, self.refused, self.listened, self.resumed_at,
            self.kept,
        )  # fmt: skip

    def rarer(self) -> dict[str, Any]:
        """Return what few streams have."""
        rare: dict[str, Any] = {}
        if self.listened is not None and self.reception.current is None:
            rare["listened"] = self.listened
        if self.unheard:
            rare["outage"] = self.resumed_at
        return rare

    def restore(self, missing_ns: int, rare: dict[str, Any]) -> None:
        """Restore what `state` and `rarer` returned."""
        begin, end = rare["excused"]
        self.excused = None if begin == end == 0 else (begin, None if end == _LASTS else end)
        since = rare["since"]
        self.since = {_NOT_YET: Expected.NOT_YET, _NOT_NOW: Expected.NOT_NOW}.get(since, since)
        self.listened = rare.get("listened")
        if "outage" in rare:
            self.resumed_at, self.kept = rare["outage"], False
        count, first = rare["refused"]
        self.refused = RefusedPackets(count, first) if count else None
        self.items, self.missing_ns = tuple(tuple(gap) for gap in rare["gaps"]), missing_ns
        self.unsettled = any(gap[-1] == UNSETTLED for gap in self.items)

    def go_on(self) -> None:
        """Note after a restart that packets came since `state`."""
        if self.since is Expected.NOT_YET and self.reception.current is not None:
            self.since = self.reception.last_arrival


def _comfort(spec: StreamSpec, reception: Reception) -> bool:
    """Return whether the last packet announced silence: comfort noise, a silence frame (G.729B, G.723.1A), Opus DTX.

    For G.723.1, the size tells only if no number of voice frames has the same size.
    """
    name, size = spec.codec(reception.payload_type)[0].upper(), reception.last_size
    if reception.payload_type == COMFORT or name == "CN":
        return True
    if name == "G723":
        return size in G723_SILENCE
    return (name == "G729" and size % 10 == 2) or (name == "OPUS" and 0 < size <= 2)


def _in_hold(missing: int, fitting: int, each: int) -> int:
    """Return how many of the missing packets are explained by a hold with room for `fitting` packets.

    Most senders' numbers stand still during a hold; then the few missing ones were lost outside it. Others count
    packets that they do not send: all of them or, if the speaker was silent at times, a good part.
    """
    lost_beside = missing * 2 < fitting and missing * each < QUIET
    return 0 if lost_beside else min(missing, fitting)
