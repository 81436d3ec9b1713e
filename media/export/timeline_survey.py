"""RTP time to places in the exported sound: the first reading of a call's records.

The records are read twice, in file order. The first reading (`Survey`) sees every packet and divides each source (one
SSRC on one stream) into *spans*: stretches in which the RTP timestamp is trusted. Within a span, a packet lies exactly
where its timestamp puts it. A span ends where the timestamp cannot be right:

    the timestamp jumps: backward, or forward out of step with the sequence numbers by more than ARRIVAL_BOUND
    the sender stopped its clock (hold): packets arrive later than it says by more than ARRIVAL_BOUND, and stay late for
        SETTLE (a stall in the network ends with a burst instead and starts no new span)
    the RTP clock changes with the payload type
    the sequence numbers restart, and the timestamp does not match the time: it may be another sender

If the wall clock in a source's reports drifts from its timestamps, its packets follow the wall clock, in steps of
`media.export.clock_drift.STEP`: two streams of a call stay together however long it lasts.

A new span, a new source and the first packet of each stream are placed by arrival time, so streams are aligned by the
arrival of their first packets. A source that closely follows another one is placed after all of it, even if the last
packets of the one or the first of the other were overtaken (`Seam`).

If sender reports (RFC 3550 section 6.4.1) of two streams use one clock, the delay of the first packets is removed: a
report says when each packet was sent, and among many packets some were not delayed, however late the report itself was
(the minimum filter of NTP, RFC 5905 section 10). The second reading (`Timeline.blocks`) gives each packet, once, its
position in samples.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter

from media.codecs.decoders import Format, Known
from media.export.clock_drift import FASTEST, Drift
from media.export.timeline import BLOCK, LATE_BOUND, LONGEST_GAP, SECOND, Formats, Notes, Source, Span, Timeline, pieces
from media.records.reader import Batch, ClockPair

BASE_RATE = 8_000  # samples a second unless a codec needs more
ARRIVAL_BOUND = SECOND  # timestamp and arrival may differ by this: more than jitter, less than a hold worth showing
SETTLE = 2 * SECOND  # a stalled network catches up within this, a stopped clock never does
SNAP = 40_000_000  # ns; a successor within two frames of the end continues seamlessly
ANEW = 1 << 15  # numbers ahead: no sender skips so many, a restarted one continues one cycle up
OVERLAP = 2 * SECOND  # two sources of one stream may overlap; an earlier start than this is a step of our clock
SAME_CLOCK = 250_000_000  # ns; sender reports whose clocks differ by less share a clock
SEAMS = 16  # of one stream that may still move; sources rarely change so often, and each packet checks all of them
PROMPT = 60 * SECOND  # of a source's beginning; in this time a clock that is 100 ppm off drifts by 6 ms
LONGEST_NAME = 40  # characters of an encoding's name that a report repeats
UNKNOWN_PACKET = 20_000_000  # assumed ns of a payload of unknown length


@dataclass(slots=True)
class StreamEnd:
    """The current end of one stream."""

    end: int
    # ns, place
    arrival: int
    # ns, when that end would have arrived


@dataclass(slots=True)
class Watch:
    """A source whose packets have become late: a stall or a stopped clock?"""

    span: Span
    # what follows the lateness
    before_ts: int
    before_arrival: int
    # the last packet that was in time
    least: int
    # smallest lateness since, ns
    until: int
    # timestamp at which it is decided


@dataclass(slots=True)
class Seam:
    """Where a new source follows the end of its stream without a gap."""

    span: Span
    # of the new source
    end: int
    # ns, place: the end that was known when it began
    arrival: int
    # ns, when that end would have arrived
    reached: int
    # ns, place: the end with the packets of before that were overtaken by the new source
    begin: int = 0
    # ns from its anchor, of the earliest packet of the new source

    def take(self, span: Span, begin: int, lasts: int, batch: Batch) -> None:
        """Take a batch at ns `begin` of a span, whose first packet lasts so long."""
        if span is self.span:
            self.begin = min(self.begin, begin)
        elif span.number < self.span.number:
            step = batch.step * SECOND // span.clock
            # who came in time after the new one began speaks at the same time as it, and was not overtaken
            room = self.span.first_arrival - lasts // 2 - (self.arrival + span.anchor + begin - self.end)
            before = min(batch.packets, 1 + (room - 1) // step if step else 1) if room > 0 else 0
            if before:
                self.reached = max(self.reached, span.anchor + begin + (before - 1) * step + lasts)

    @property
    def missing(self) -> int:
        """Return the ns that the new source lies too early."""
        behind = self.reached - self.span.anchor - self.begin
        return behind if 0 < behind <= OVERLAP else 0


class Survey:
    """The first reading: find out where everything lies."""

    def __init__(self, formats: Mapping[int, Mapping[int, Format]]) -> None:
        self._formats = Formats(formats)
        self._sources: dict[tuple[int, int], Source] = {}
        self._ends: dict[int, StreamEnd] = {}
        self._seams: dict[int, list[Seam]] = {}
        # per stream in their order, those that may still move; and the others: span, ns to move it and what comes after
        self._joined: dict[int, list[tuple[int, int]]] = {}
        self._watches: dict[tuple[int, int], Watch] = {}
        self._spans: list[Span] = []
        self._reach: list[int] = []
        # per span: largest offset of a packet's end, ns
        self._blocks = array("q")
        # triples: block, span, smallest offset in it
        self._block: dict[int, int] = {}
        self._batches = 0
        self._rate = BASE_RATE
        self._unknown: dict[int, set[str]] = {}
        self._packets: dict[int, int] = dict.fromkeys(formats, 0)
        self._repeats = 0
        self._reports: dict[tuple[int, int], ClockPair] = {}
        self._ahead: dict[tuple[int, int], int] = {}
        # per source: how far our clock is ahead of that of its reports, by the promptest of its first minute
        self._prompt: dict[tuple[int, int], int] = {}
        # per source: when its first packet would have come, had it been held up as little as any of its first minute
        self._drifts: dict[tuple[int, int], tuple[int, Drift]] = {}
        # per source: of its newest span

    def report(self, report: ClockPair) -> None:
        """Add a sender report; the first of each source is enough, except for the drift of its clock."""
        key, ahead = (report.stream, report.ssrc), report.arrival - report.ntp
        first = self._reports.setdefault(key, report)
        if report.arrival - first.arrival <= PROMPT and first.arrival - first.ntp - ahead <= SETTLE:
            self._ahead[key] = min(self._ahead.get(key, ahead), ahead)
        source = self._sources.get(key)
        if source is not None and source.spans:
            self._follow(key, source.spans[-1], report)

    def _follow(self, key: tuple[int, int], span: Span, report: ClockPair) -> None:
        """Move later packets to where the report's wall clock says, in steps that are hardly audible."""
        ts = span.last_ts + ((report.timestamp - span.last_ts + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        known = self._drifts.get(key)
        if known is None or known[0] != span.number:
            self._drifts[key] = span.number, Drift(span.clock, report.ntp, ts)
        elif known[1].take(report.ntp, ts):
            # in plain RTP anybody at the client's address may report
            most = (span.last_ts - span.first_ts) * SECOND // span.clock // FASTEST
            span.steps.append((span.last_ts + 1, max(-most, min(known[1].told, most))))

    def add(self, batch: Batch) -> None:
        """Add the next batch in file order."""
        if batch.stream not in self._formats:
            return
        self._turn()
        for part in self._formats.plain(batch):
            self._add(part)

    def _add(self, batch: Batch) -> None:
        source = self._sources.setdefault((batch.stream, batch.ssrc), Source())
        known = self._formats.of(batch)
        for first, count in source.seen.fresh(batch.ext_seq, batch.packets):
            self._packets[batch.stream] += count
            self._repeats -= count
            if known is None or not known.sound:
                continue
            for piece in pieces(batch.part(first, count), known):
                self._put(source, piece, known)
        self._repeats += batch.packets
        if known is not None and known.coding is not None:
            self._rate = max(self._rate, known.rate)
        elif known is None or (known.sound and not known.picture):
            name = known.form.name[:LONGEST_NAME] if known else f"payload type {batch.payload_type}"
            self._unknown.setdefault(batch.stream, set()).add(name)

    def finish(self) -> Timeline:
        """Settle what is open and return the timeline. Raise TooLong."""
        for key in list(self._watches):
            self._decide(key)
        self._close_block()
        self._join()
        self._line_up()
        notes = Notes({s: sorted(n) for s, n in self._unknown.items()}, self._packets, self._repeats)
        return Timeline(self._formats, self._sources, self._spans, self._reach, self._blocks, self._rate, notes)

    def _turn(self) -> None:
        if self._batches % BLOCK == 0 and self._batches:
            self._close_block()
        self._batches += 1

    def _close_block(self) -> None:
        number = (self._batches - 1) // BLOCK
        for span, offset in self._block.items():
            self._blocks.extend((number, span, offset))
        self._block.clear()

    def _put(self, source: Source, batch: Batch, known: Known) -> None:
        """Place one batch provisionally."""
        key = batch.stream, batch.ssrc
        if source.last_seq >= batch.ext_seq:
            span = source.span_of(batch.ext_seq)
            ts = span.unwrap(batch.timestamp, batch.arrival)
            if abs(ts - span.last_ts) * SECOND <= LATE_BOUND * span.clock:
                self._extend(span, ts, batch, known)
            return
        span = self._span_for(source, batch, known, key)
        ts = span.unwrap(batch.timestamp, batch.arrival)
        self._extend(span, ts, batch, known)
        last = ts + (batch.packets - 1) * batch.step
        if span is source.spans[0]:
            self._time(key, span, ts, batch.arrival)
            self._time(key, span, last, batch.last_arrival)
        span.advance(last, batch.last_arrival)
        source.advance(batch)
        self._observe(key, ts, batch)

    def _time(self, key: tuple[int, int], span: Span, ts: int, arrival: int) -> None:
        """Note when the first packet would have come with only as much delay as this one.

        No packet is delayed by more than `SETTLE`; beyond that, our clock was set back.
        """
        offset = span.offset(ts)
        if offset <= PROMPT and span.first_arrival - arrival + offset <= SETTLE:
            self._prompt[key] = min(self._prompt.get(key, arrival), arrival - offset)

    def _span_for(self, source: Source, batch: Batch, known: Known, key: tuple[int, int]) -> Span:
        """Return the span that the batch continues, or start one."""
        clock = known.clock
        if not source.spans:
            return self._follow_on(source, batch, clock)
        span = source.spans[-1]
        ts = span.unwrap(batch.timestamp, batch.arrival)
        lag = batch.arrival - span.last_arrival - (ts - span.last_ts) * SECOND // clock
        anew = batch.ext_seq - source.last_seq >= ANEW and (ts == span.last_ts or abs(lag) > SNAP)
        if clock != span.clock or anew or self._leaps(source, span, batch, ts, known):
            self._decide(key)
            return self._begin(source, batch, clock, self._anchor(batch, alone=True))
        if lag <= ARRIVAL_BOUND or key in self._watches:
            return span
        late = self._begin(source, batch, clock, span.anchor + span.offset(ts))
        self._watches[key] = Watch(
            late, span.last_ts - ts + late.first_ts, span.last_arrival, lag, late.first_ts + SETTLE * clock // SECOND
        )
        return late

    @staticmethod
    def _leaps(source: Source, span: Span, batch: Batch, ts: int, known: Known) -> bool:
        """Return whether a timestamp cannot follow: it goes backward, or ahead of time and of the sequence numbers."""
        step = known.samples_in(batch.first) * span.clock // known.rate
        moved = ts - span.last_ts
        if moved < 0:
            return True
        lead = moved * SECOND // span.clock - (batch.arrival - span.last_arrival)
        return lead > ARRIVAL_BOUND and moved != (batch.ext_seq - source.last_seq) * step

    def _follow_on(self, source: Source, batch: Batch, clock: int) -> Span:
        """Start a source, and remember the seam if it closely follows another one."""
        newest = self._ends.get(batch.stream)
        span = self._begin(source, batch, clock, self._anchor(batch, alone=False))
        if newest is not None and span.anchor == newest.end:
            seams = self._seams.setdefault(batch.stream, [])
            seams.append(Seam(span, newest.end, newest.arrival, newest.end))
            self._settle(batch.stream, seams, len(seams) - SEAMS)
        return span

    def _settle(self, stream: int, seams: list[Seam], count: int) -> None:
        """Hold what the oldest seams of a stream have come to."""
        for seam in seams[: max(count, 0)]:
            if seam.missing:
                self._joined.setdefault(stream, []).append((seam.span.number, seam.missing))
        del seams[: max(count, 0)]

    def _begin(self, source: Source, batch: Batch, clock: int, anchor: int) -> Span:
        ts, arrival = batch.timestamp, batch.arrival
        span = Span(len(self._spans), ts, arrival, anchor, clock, ts, arrival)
        self._spans.append(span)
        self._reach.append(0)
        source.begin(span, batch.ext_seq)
        return span

    def _anchor(self, batch: Batch, *, alone: bool) -> int:
        """Place by arrival, after the stream's end; `alone`: the source itself continues, so nothing may overlap."""
        newest = self._ends.get(batch.stream)
        if newest is None:
            return batch.arrival
        gap = batch.arrival - newest.arrival
        if abs(gap) <= SNAP or gap > LONGEST_GAP or gap < -OVERLAP or (alone and gap < 0):
            gap = 0
        return newest.end + gap

    def _extend(self, span: Span, ts: int, batch: Batch, known: Known) -> None:
        """Note how far the span and its stream reach, and where the block begins."""
        begin = span.offset(ts)
        lasts = known.samples_in(batch.first) * SECOND // known.rate or UNKNOWN_PACKET
        end = begin + (batch.packets - 1) * batch.step * SECOND // span.clock + lasts
        self._reach[span.number] = max(self._reach[span.number], end)
        if begin < self._block.get(span.number, begin + 1):
            self._block[span.number] = begin
        seams = self._seams.get(batch.stream)
        if seams:
            self._settle(batch.stream, seams, sum(batch.arrival - s.span.first_arrival > SETTLE for s in seams))
            for seam in seams:
                seam.take(span, begin, lasts, batch)
        newest = self._ends.get(batch.stream)
        if newest is None or span.anchor + end >= newest.end:
            self._ends[batch.stream] = StreamEnd(span.anchor + end, batch.last_arrival + lasts)

    def _observe(self, key: tuple[int, int], ts: int, batch: Batch) -> None:
        """Follow a source that has become late."""
        watch = self._watches.get(key)
        if watch is None:
            return
        clock, last = watch.span.clock, ts + (batch.packets - 1) * batch.step
        for arrival, stamp in ((batch.arrival, ts), (batch.last_arrival, last)):
            lag = arrival - watch.before_arrival - (stamp - watch.before_ts) * SECOND // clock
            watch.least = min(watch.least, lag)
        if last >= watch.until or watch.least <= ARRIVAL_BOUND:
            self._decide(key)

    def _decide(self, key: tuple[int, int]) -> None:
        """Move the watched span to where its packets arrive if they have stayed late."""
        watch = self._watches.pop(key, None)
        if watch is None or not ARRIVAL_BOUND < watch.least <= LONGEST_GAP:
            return
        watch.span.move(watch.least)
        self._ends[key[0]].end += watch.least

    def _join(self) -> None:
        """Move sources behind everything that came before them, and what follows them by as much."""
        for stream, seams in self._seams.items():
            self._settle(stream, seams, len(seams))
        moved = {stream: list(accumulate(by for _, by in joined)) for stream, joined in self._joined.items()}
        for (stream, _), source in self._sources.items():
            for span in source.spans if stream in moved else ():
                before = bisect_right(self._joined[stream], span.number, key=itemgetter(0))
                span.move(moved[stream][before - 1] if before else 0)

    def _line_up(self) -> None:
        """Remove the delay of first packets if sender reports of two streams share a clock."""
        firsts: dict[int, tuple[int, Source]] = {}
        for (stream, ssrc), source in self._sources.items():
            if source.spans and (stream not in firsts or source.spans[0].number < firsts[stream][1].spans[0].number):
                firsts[stream] = ssrc, source
        told = {s: (s, ssrc) for s, (ssrc, _) in firsts.items() if (s, ssrc) in self._reports}
        sent = {s: _sent(self._reports[key], firsts[s][1].spans[0]) for s, key in told.items()}
        skews = {s: min(self._ahead[key], self._prompt[key] - sent[s]) for s, key in told.items()}
        for stream, key in told.items():
            peers = [skew for skew in skews.values() if abs(skew - skews[stream]) <= SAME_CLOCK]
            due = sent[stream] + min(peers)
            if len(peers) > 1 and due >= self._prompt[key] - ARRIVAL_BOUND:  # else its reports are nonsense
                self._shift(stream, due - firsts[stream][1].spans[0].first_arrival)

    def _shift(self, stream: int, move: int) -> None:
        """Move a stream by ns."""
        for (owner, _), source in self._sources.items():
            for span in source.spans if owner == stream else ():
                span.move(move)


def _sent(report: ClockPair, first: Span) -> int:
    """Return when the first packet of a span was sent, on the clock of the sender's report."""
    behind = ((report.timestamp - first.first_ts + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
    return report.ntp - behind * SECOND // first.clock
