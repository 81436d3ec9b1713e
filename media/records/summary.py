"""Figures of a recording from its records alone, without a worker's counters."""

from __future__ import annotations

from typing import Any

from media.records.record_format import Mixed, Packet, Record, Run

MAX_SOURCES = 1_000
"""Sources (SSRCs) counted in one stream; more is an attack, and the rest is not counted."""

NOMINAL_NS = 20_000_000
"""Assumed length of a missing packet if its source sent fewer than two: the usual packet of telephony."""


class _Source:
    """One SSRC of one stream."""

    __slots__ = ("first", "first_ns", "highest", "highest_ns", "packets")

    def __init__(self, ext_seq: int, arrival: int) -> None:
        self.first = self.highest = ext_seq
        self.first_ns = self.highest_ns = arrival
        self.packets = 0

    def add(self, ext_seq: int, count: int, arrival: int) -> None:
        self.packets += count
        if ext_seq < self.first:
            self.first, self.first_ns = ext_seq, arrival
        if ext_seq + count - 1 > self.highest:
            self.highest, self.highest_ns = ext_seq + count - 1, arrival

    @property
    def lost(self) -> int:
        return max(0, self.highest - self.first + 1 - self.packets)

    @property
    def missing_ns(self) -> int:
        span = self.highest - self.first
        each = max(NOMINAL_NS, (self.highest_ns - self.first_ns) // span) if span else NOMINAL_NS
        return self.lost * each


class Summary:
    """Counts the records of all media parts of a call; the parts may come in any order."""

    def __init__(self) -> None:
        self._sources: dict[int, dict[int, _Source]] = {}
        self._last = 0

    def add(self, record: Record) -> None:
        """Count one record."""
        if isinstance(record, Run | Mixed):
            self._count(record.stream, record.ssrc, record.sequence, len(record.arrivals), record.arrivals[0])
        elif isinstance(record, Packet):
            ssrc = int.from_bytes(record.packet[8:12], "big")
            self._count(record.stream, ssrc, record.sequence, 1, record.arrival)

    def _count(self, stream: int, ssrc: int, sequence: int, count: int, arrival: int) -> None:
        self._last = max(self._last, arrival)
        sources = self._sources.setdefault(stream, {})
        source = sources.get(ssrc)
        if source is None:
            if len(sources) >= MAX_SOURCES:
                return
            source = sources[ssrc] = _Source(sequence, arrival)
        source.add(sequence, count, arrival)

    def last_ns(self) -> int | None:
        """Return when the last packet arrived, ns since 1970."""
        return self._last or None

    def figures(self, stream: int) -> dict[str, Any]:
        """Return the figures of a stream under the names of docs/api.md."""
        sources = self._sources.get(stream, {}).values()
        return {
            "packets": sum(s.packets for s in sources),
            "lost": sum(s.lost for s in sources),
            "gap_ms": -(-sum(s.missing_ns for s in sources) // 1_000_000),
        }
