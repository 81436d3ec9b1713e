"""Records as an export needs them: packets in batches, sender reports with our arrival time, marks."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from media.errors import Malformed
from media.records.record_format import Marked, Mixed, Packet, Record, Rtcp, Run
from media.rtp import header, rtcp

NTP_TO_UNIX = 2_208_988_800  # seconds from 1900 to 1970


class Batch(NamedTuple):
    """Packets of one source in sequence with equal steps; mostly one record."""

    stream: int
    ssrc: int
    ext_seq: int
    # extended sequence number of the first
    payload_type: int
    marker: bool
    # of the first
    timestamp: int
    # 32 bits, of the first
    step: int
    # timestamp units from packet to packet
    arrivals: tuple[int, ...]
    # ns since the epoch
    payloads: tuple[bytes, ...]
    packet: bytes | None = None
    # the packet as received, if it was stored whole

    @property
    def packets(self) -> int:
        """Number of packets."""
        return len(self.payloads)

    @property
    def first(self) -> bytes:
        """Payload of the first packet."""
        return self.payloads[0]

    @property
    def arrival(self) -> int:
        """Arrival of the first packet, ns."""
        return self.arrivals[0]

    @property
    def last_arrival(self) -> int:
        """Arrival of the last packet, ns."""
        return self.arrivals[-1]

    def part(self, ext_seq: int, count: int) -> "Batch":
        """Return the packets from `ext_seq` on."""
        at = ext_seq - self.ext_seq
        if at == 0 and count == self.packets:
            return self
        return self._replace(
            ext_seq=ext_seq,
            marker=self.marker and at == 0,
            timestamp=(self.timestamp + at * self.step) & 0xFFFF_FFFF,
            arrivals=self.arrivals[at : at + count],
            payloads=self.payloads[at : at + count],
        )


class ClockPair(NamedTuple):
    """A sender report (RFC 3550 section 6.4.1) and when it came."""

    stream: int
    ssrc: int
    arrival: int
    # ns since the epoch, our clock
    ntp: int
    # ns since the epoch, the sender's clock
    timestamp: int
    # the same instant in RTP time


def batches(records: Iterable[Record]) -> Iterator[Batch | ClockPair | Marked]:
    """Convert the records of a call to batches, clock pairs and marks; skip what is no RTP or RTCP."""
    for record in records:
        if isinstance(record, Run):
            yield Batch(
                record.stream,
                record.ssrc,
                record.sequence,
                record.payload_type,
                record.marker,
                record.timestamp,
                record.step,
                record.arrivals,
                record.payloads,
            )
        elif isinstance(record, Mixed):
            yield from _each(record)
        elif isinstance(record, Marked):
            yield record
        elif isinstance(record, Packet | Rtcp):
            found = _single(record) if isinstance(record, Packet) else _clock_pair(record)
            if found is not None:
                yield found


def _each(record: Mixed) -> Iterator[Batch]:
    """Yield packets one by one: only their codec knows how long each lasts."""
    for i, payload in enumerate(record.payloads):
        yield Batch(
            record.stream,
            record.ssrc,
            record.sequence + i,
            record.payload_type,
            record.markers[i],
            record.timestamps[i],
            0,
            (record.arrivals[i],),
            (payload,),
        )


def _single(record: Packet) -> Batch | None:
    try:
        marker, payload_type, _, timestamp, ssrc, begin, end = header.parse(record.packet)
    except Malformed:
        return None
    payloads = (record.packet[begin:end],)
    return Batch(
        record.stream,
        ssrc,
        record.sequence,
        payload_type,
        marker,
        timestamp,
        0,
        (record.arrival,),
        payloads,
        record.packet,
    )


def _clock_pair(record: Rtcp) -> ClockPair | None:
    try:
        report = rtcp.sender_report(record.packet)
    except Malformed:
        return None
    if report is None or not report.ntp:
        return None
    ntp = (report.ntp * 1_000_000_000 >> 32) - NTP_TO_UNIX * 1_000_000_000
    return ClockPair(record.stream, report.ssrc, record.arrival, ntp, report.timestamp)
