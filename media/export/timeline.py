"""Where each packet of a call lies in the exported sound: the second reading (timeline_survey is the first)."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from media.codecs.decoders import STATIC, Format, Known
from media.errors import Malformed, MediaError
from media.export.seen_sequences import Seen
from media.records.reader import Batch
from media.rtp import red

SECOND = 1_000_000_000  # ns
LONGEST = 7 * 24 * 3600 * SECOND  # a file longer than a week is an error, and would fill the disk
LONGEST_GAP = 24 * 3600 * SECOND  # a longer silence is a step of the wall clock, not a pause
LATE_BOUND = 10 * SECOND  # a packet out of order lies this close to its neighbours, or is dropped
BLOCK = 64  # batches between two places where sound is let go


class TooLong(MediaError):
    """The recording would be longer than any call can be."""


class Placed(NamedTuple):
    """Payloads that follow each other, and where they begin."""

    position: int
    # samples of the output since time 0
    stream: int
    ssrc: int
    ext_seq: int
    form: Format
    payloads: tuple[bytes, ...]
    arrivals: tuple[int, ...]
    # ns since the epoch, of each


@dataclass(slots=True)
class Span:
    """A stretch of one source in which its timestamps are trusted."""

    number: int
    # among all spans
    first_ts: int
    # unwrapped
    first_arrival: int
    # ns
    anchor: int
    # ns since the epoch at which the first packet is placed
    clock: int
    # Hz
    last_ts: int
    # unwrapped, of the newest packet seen
    last_arrival: int
    steps: list[tuple[int, int]] = field(default_factory=list)
    # (timestamp, ns): from there on packets lie this much later, because the sender's RTP clock has drifted

    def offset(self, ts: int) -> int:
        """Return the ns from the anchor."""
        return (ts - self.first_ts) * SECOND // self.clock + self.drift(ts)

    def drift(self, ts: int) -> int:
        """Return the ns by which the sender's clock is behind at this timestamp."""
        if not self.steps:
            return 0
        at = bisect_right(self.steps, ts, key=itemgetter(0))
        return self.steps[at - 1][1] if at else 0

    def unwrap(self, timestamp: int, arrival: int) -> int:
        """Extend a 32-bit timestamp to the value nearest to what the arrival time suggests."""
        elapsed = arrival - self.last_arrival
        if not 0 <= elapsed <= LONGEST_GAP:
            elapsed = 0
        expected = self.last_ts + elapsed * self.clock // SECOND
        return expected + ((timestamp - expected + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000

    def advance(self, ts: int, arrival: int) -> None:
        """Remember the newest packet."""
        self.last_ts, self.last_arrival = ts, arrival

    def move(self, by: int) -> None:
        """Place the packets later by this many ns."""
        self.anchor += by

    def rewind(self) -> None:
        """Forget what was seen, for another reading."""
        self.last_ts, self.last_arrival = self.first_ts, self.first_arrival


@dataclass(slots=True)
class Source:
    """One SSRC of one stream."""

    seen: Seen = field(default_factory=Seen)
    spans: list[Span] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    # first sequence number of each span
    last_seq: int = -1
    # of the newest sounding packet

    def span_of(self, ext_seq: int) -> Span:
        """Return the span to which a sequence number belongs."""
        return self.spans[max(bisect_right(self.starts, ext_seq) - 1, 0)]

    def begin(self, span: Span, ext_seq: int) -> None:
        """Add the span that begins at this sequence number."""
        self.spans.append(span)
        self.starts.append(ext_seq)

    def advance(self, batch: Batch) -> None:
        """Remember the newest packet."""
        self.last_seq = batch.ext_seq + batch.packets - 1


@dataclass(frozen=True)
class Notes:
    """What the survey found and did not use."""

    unknown: Mapping[int, Sequence[str]]
    # stream -> names of encodings without a decoder
    packets: Mapping[int, int]
    # stream -> packets, each once
    repeats: int
    # packets that were stored twice


def contiguous(batch: Batch, known: Known) -> bool:
    """Return whether each payload begins where the one before ends."""
    return batch.packets == 1 or batch.step * known.rate == known.samples_in(batch.first) * known.clock


class Formats:
    """What payload types mean in each stream: from the SDP, otherwise from RFC 3551."""

    def __init__(self, formats: Mapping[int, Mapping[int, Format]]) -> None:
        self._known = {
            stream: {number: Known(form) for number, form in (STATIC | dict(named)).items()}
            for stream, named in formats.items()
        }

    def __contains__(self, stream: int) -> bool:
        return stream in self._known

    def of(self, batch: Batch) -> Known | None:
        """Look up the format of a batch."""
        return self._known[batch.stream].get(batch.payload_type)

    def plain(self, batch: Batch) -> Sequence[Batch]:
        """Yield what is new in packets of redundant audio (RFC 2198) one by one; anything else unchanged."""
        known = self.of(batch)
        if known is None or known.form.name.lower() != red.NAME:
            return (batch,)
        return [_newest(batch.part(batch.ext_seq + i, 1)) for i in range(batch.packets)]


def _newest(batch: Batch) -> Batch:
    """Return the newest block of one packet as if it had come alone; anything but redundant audio unchanged."""
    try:
        block = red.blocks(batch.first)[-1]
    except Malformed:
        return batch
    return batch._replace(payload_type=block.payload_type, payloads=(block.payload,))


def pieces(batch: Batch, known: Known) -> Sequence[Batch]:
    """Return a batch whole if its payloads follow each other, otherwise its packets one by one."""
    if batch.packets == 1 or contiguous(batch, known):
        return (batch,)
    return [batch.part(batch.ext_seq + i, 1) for i in range(batch.packets)]


class Timeline:
    """Where everything lies; the second reading asks batch by batch, in the same order."""

    def __init__(
        self,
        formats: Formats,
        sources: Mapping[tuple[int, int], Source],
        spans: Sequence[Span],
        reach: Sequence[int],
        blocks: array[int],
        rate: int,
        notes: Notes,
    ) -> None:
        self._formats, self._sources, self.rate, self.notes = formats, sources, rate, notes
        entries = [(blocks[i], spans[blocks[i + 1]].anchor + blocks[i + 2]) for i in range(0, len(blocks), 3)]
        self.origin = min((place for _, place in entries), default=0)
        # ns since the epoch of time 0
        end = max((span.anchor + reach[span.number] for span in spans), default=self.origin)
        if end - self.origin > LONGEST:
            raise TooLong("the recording would last longer than a week; its clocks cannot be right")
        self.samples = self._sample(end)
        # length of the output
        self._floors = self._falling(entries)

    def _sample(self, place: int) -> int:
        return ((place - self.origin) * self.rate + SECOND // 2) // SECOND

    def _falling(self, entries: Sequence[tuple[int, int]]) -> list[int]:
        """Return for each block the first sample that it or any later block holds."""
        floors = [self.samples] * ((entries[-1][0] if entries else 0) + 2)
        for block, place in entries:
            floors[block] = min(floors[block], self._sample(place))
        for block in range(len(floors) - 2, -1, -1):
            floors[block] = min(floors[block], floors[block + 1])
        return floors

    def blocks(self, batches: Iterable[Batch]) -> Iterator[tuple[list[Placed], int]]:
        """Yield the sound of each block sorted by position, with the sample before which nothing more will come."""
        for source in self._sources.values():
            source.seen, source.last_seq = Seen(), -1
            for span in source.spans:
                span.rewind()
        placed: list[Placed] = []
        count = 0
        for batch in batches:
            if batch.stream not in self._formats:
                continue
            if count % BLOCK == 0 and count:
                yield self._sorted(placed), self._floor(count // BLOCK)
                placed = []
            count += 1
            for part in self._formats.plain(batch):
                self._place(part, placed)
        yield self._sorted(placed), self.samples

    def _floor(self, block: int) -> int:
        return self._floors[block] if block < len(self._floors) else self.samples

    @staticmethod
    def _sorted(placed: list[Placed]) -> list[Placed]:
        placed.sort(key=lambda p: (p.position, p.stream, p.ext_seq))
        return placed

    def _place(self, batch: Batch, placed: list[Placed]) -> None:
        """Append the new and decodable part of a batch."""
        source = self._sources.get((batch.stream, batch.ssrc))
        known = self._formats.of(batch)
        if source is None or not source.spans or known is None or (known.coding is None and not known.picture):
            self._skip(source, batch, known)
            return
        for first, count in source.seen.fresh(batch.ext_seq, batch.packets):
            for piece in pieces(batch.part(first, count), known):
                position = self._locate(source, piece)
                if position is not None:
                    located = position, piece.stream, piece.ssrc, piece.ext_seq, known.form
                    placed.append(Placed(*located, piece.payloads, piece.arrivals))

    def _skip(self, source: Source | None, batch: Batch, known: Known | None) -> None:
        """Follow the timestamps of what is not decoded, as the first reading did."""
        if source is None:
            return
        fresh = source.seen.fresh(batch.ext_seq, batch.packets)
        if source.spans and known is not None and known.sound:
            for first, count in fresh:
                for piece in pieces(batch.part(first, count), known):
                    self._locate(source, piece)

    def _locate(self, source: Source, batch: Batch) -> int | None:
        """Return the position of a batch in samples; None if it is not near its neighbours."""
        span = source.span_of(batch.ext_seq)
        ts = span.unwrap(batch.timestamp, batch.arrival)
        if batch.ext_seq > source.last_seq:
            span.advance(ts + (batch.packets - 1) * batch.step, batch.last_arrival)
            source.last_seq = batch.ext_seq + batch.packets - 1
        elif abs(ts - span.last_ts) * SECOND > LATE_BOUND * span.clock:
            return None
        start = self._sample(span.anchor)
        drift = span.drift(ts) * self.rate // SECOND
        return start + drift + ((ts - span.first_ts) * self.rate + span.clock // 2) // span.clock
