"""What is reported about a stream, under the names of docs/api.md."""

from typing import Any

from media.rtp.statistics import mos
from media.stream.gaps import MAX_GAPS
from media.stream.receiver import ReceivedStream

#: Longest encoding name reported in characters: an offer may bring one of many thousand for each stream.
LONGEST_CODEC = 128


def figures(stream: ReceivedStream, most_gaps: int = MAX_GAPS) -> dict[str, Any]:
    """Return the figures of a stream under the names of docs/api.md, with at most `most_gaps` separate gaps."""
    lost, expected = stream.reception.totals()
    burst = stream.gaps.burst
    codec = stream.spec.codec(stream.reception.payload_type)[0] if stream.reception.payload_type is not None else ""
    return {
        "stream": stream.spec.stream,
        "packets": stream.reception.packets,
        "lost": lost,
        "duplicates": stream.reception.duplicates,
        "rejected": stream.reception.rejected,
        "foreign": stream.reception.foreign,
        "late": stream.reception.late,
        "reordered": stream.reception.reordered,
        "bytes": stream.reception.size,
        "codec": codec[:LONGEST_CODEC],
        "srtp": stream.spec.suite,
        "jitter_ms": round(stream.reception.jitter / 1e6, 3),
        "gap_ms": -(-stream.gaps.missing_ns // 1_000_000),
        "gaps": [list(gap) for gap in stream.gaps.listed(most_gaps)],
        "burst": round(burst, 2),
        "mos": mos(codec, lost, expected, burst),
        "first_arrival": stream.reception.first_arrival,
        "last_arrival": stream.reception.last_arrival,
        "sources": [[source.ssrc, source.first, source.highest] for source in stream.reception.sources],
    }
