"""Packets that must not be stored because of a pause: those that came in it, and later ones that repeat its content.

A digit pressed in a pause may be held beyond its end and is repeated after it (RFC 4733 section 2.3); redundant audio
(RFC 2198) repeats what was said up to some packets before.
"""

from __future__ import annotations

from media.errors import Malformed
from media.rtp import header, red
from media.spec import StreamSpec, unit_of
from media.stream.pauses import Pauses

#: Encoding name of DTMF events (RFC 4733).
DIGITS = "telephone-event"


def unwanted(spec: StreamSpec, pauses: Pauses, header: header.Parsed, packet: bytes, arrival: int) -> bool:
    """Return whether a packet came in a pause (`arrival` in ns), or repeats what was said or keyed in one."""
    _, payload_type, _, timestamp, ssrc, begin, end = header
    name, clock = spec.codec(payload_type)
    if name.lower() != red.NAME:
        return _is_unwanted(spec, pauses, payload_type, packet[begin:end], (ssrc, timestamp), arrival, arrival)
    try:
        blocks = red.blocks(packet[begin:end])
    except Malformed:
        return pauses.covers(arrival)
    results = [
        _is_unwanted(
            spec, pauses, block.payload_type, block.payload, (ssrc, (timestamp - block.behind) & 0xFFFFFFFF),
            arrival - int(block.behind * unit_of(clock)), arrival,
        )
        for block in blocks
    ]  # fmt: skip
    return any(results) or pauses.covers(arrival)


def _is_unwanted(
    spec: StreamSpec, pauses: Pauses, payload_type: int, payload: bytes, digit: tuple[int, int], said: int,
    arrival: int,
) -> bool:  # fmt: skip
    """Return whether one block must not be stored; alone it would have come at `said`.

    `digit`: its SSRC and timestamp.
    """
    name, clock = spec.codec(payload_type)
    if name.lower() != DIGITS or len(payload) < 4:
        return pauses.covers(said)
    lasted = int(int.from_bytes(payload[2:4]) * unit_of(clock))
    return pauses.keyed(digit, said - lasted, arrival)
