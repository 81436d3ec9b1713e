"""What is told of a stream, under the names of the contract."""

from typing import Any

from media.rtp.statistics import mos
from media.stream.gaps import MAX_GAPS
from media.stream.receiver import Track

#: Characters that are told of the name of an encoding: an offer may bring one of many thousand for each stream.
LONGEST_CODEC = 128


def figures(track: Track, most_gaps: int = MAX_GAPS) -> dict[str, Any]:
    """Give what is known of a stream under the names of the contract; `most_gaps`: that are told apart."""
    lost, expected = track.reception.totals()
    burst = track.gaps.burst
    codec = track.spec.codec(track.reception.payload_type)[0] if track.reception.payload_type >= 0 else ""
    return {
        "stream": track.spec.stream,
        "packets": track.reception.packets,
        "lost": lost,
        "duplicates": track.reception.duplicates,
        "rejected": track.reception.rejected,
        "foreign": track.reception.foreign,
        "late": track.reception.late,
        "reordered": track.reception.reordered,
        "bytes": track.reception.size,
        "codec": codec[:LONGEST_CODEC],
        "srtp": track.spec.suite,
        "jitter_ms": round(track.reception.jitter / 1e6, 3),
        "gap_ms": -(-track.gaps.missing_ns // 1_000_000),
        "gaps": [list(gap) for gap in track.gaps.listed(most_gaps)],
        "burst": round(burst, 2),
        "mos": mos(codec, lost, expected, burst),
        "first_arrival": track.reception.first_arrival,
        "last_arrival": track.reception.last_arrival,
        "sources": [[source.ssrc, source.first, source.highest] for source in track.reception.sources],
    }
