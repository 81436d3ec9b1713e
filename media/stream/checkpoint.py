"""The state of a call's streams as bytes: see docs/formats/records.md, "Spool".

`pack` writes everything: a fixed structure per stream, and JSON for what is rare (gaps, other sources). A batch in
sequence, taken by the fast path, only changes seven numbers per stream; `moving` writes those. `steady` tells whether
anything else has changed, which means that `pack` is needed again.
"""

import json
import struct
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from media.errors import Damaged
from media.rtp.sequence import WINDOW
from media.stream.receiver import ReceivedStream

#: Limit of the rare state in bytes, from MAX_GAPS and MAX_SOURCES: 128 × 90 + 16 × 400.
_HOT = struct.Struct(f"!BB28sb8sQQQQQQQQQdI IqQQQQiIIQ{WINDOW // 8}sI".replace(" ", ""))
#: Of the newest packet: extended number, timestamp, arrival and step; then payload bytes, jitter, and reports sent.
_MOVING = "QIQIQdI"
_MOVING_OF = [struct.Struct("!" + _MOVING * n) for n in range(3)]
_NO_PAYLOAD_TYPE = -1


def pack(streams: Iterable[ReceivedStream]) -> bytes:
    """Serialise the streams of a call."""
    return b"".join([part for stream in streams for part in _pack(stream)])


def steady(streams: Iterable[ReceivedStream]) -> int:
    """Return a digest of what `pack` writes and batches in sequence do not change.

    It is computed from the streams themselves once per call and tick; one pair of states in 2^61 has the same one.
    """
    return hash(tuple([stream.steady() for stream in streams]))


def moving(streams: Collection[ReceivedStream]) -> bytes:
    """Serialise what batches in sequence change, once per call and tick."""
    numbers: list[int | float] = []
    for stream in streams:
        numbers += stream.reception.moving()
        numbers.append(stream.srtp.reports)
    return _moving_of(len(streams)).pack(*numbers)


def _moving_of(count: int) -> struct.Struct:
    """Return the structure for this many streams; nearly all calls have one or two."""
    return _MOVING_OF[count] if count < len(_MOVING_OF) else struct.Struct("!" + _MOVING * count)


def _pack(stream: ReceivedStream) -> tuple[bytes, bytes]:
    reception = stream.reception
    rare = _rare(stream)
    hot = _HOT.pack(
        stream.spec.stream, len(stream.latch.name), stream.latch.name,
        _NO_PAYLOAD_TYPE if reception.payload_type is None else reception.payload_type,
        stream.srtp.check, *reception.counters(), stream.gaps.missing_ns, reception.jitter,
        stream.srtp.reports, *reception.place(), len(rare),
    )  # fmt: skip
    return hot, rare


def _rare(stream: ReceivedStream) -> bytes:
    """Encode what changes rarely."""
    rare = {
        "others": stream.reception.others(),
        "gaps": stream.gaps.items,
        "retired": stream.reception.retired,
        **stream.gaps.state(),
        "current": stream.reception.current is not None,
        **stream.gaps.rarer(),
        **stream.latch.rarer(stream.spec),
    }
    if stream.reception.epoch:
        rare["epoch"] = stream.reception.epoch
    rare |= stream.probation.rarer()
    return msgspec.json.encode(rare)


def restore(state: bytes, moved: bytes, streams: dict[int, ReceivedStream]) -> set[int]:
    """Restore new streams, with their SRTP contexts, from a state and later changes; return the streams that it holds.

    Streams that no longer exist are skipped. Raise Damaged if it is malformed.
    """
    at = number = 0
    knew: set[int] = set()
    try:
        while at < len(state):
            fields = _HOT.unpack_from(state, at)
            end = at + _HOT.size + fields[-1]
            rare = json.loads(state[at + _HOT.size : end])
            knew.add(fields[0])
            stream = streams.get(fields[0])
            if stream is not None:
                _restore(stream, fields, rare)
                _move(stream, _MOVING_OF[1].unpack_from(moved, number * _MOVING_OF[1].size), fields[4])
            at, number = end, number + 1
    except (struct.error, ValueError, KeyError, TypeError):
        raise Damaged("the state of the streams in a spool is damaged") from None
    return knew


def _restore(stream: ReceivedStream, fields: tuple[Any, ...], rare: dict[str, Any]) -> None:
    _, named, name, payload_type, _, *counters, missing, jitter, _ = fields[:16]
    known = None if payload_type == _NO_PAYLOAD_TYPE else payload_type
    stream.reception.switch(known, stream.spec.codec(known)[1])
    stream.reception.restore(counters, jitter, fields[16:-1], rare)
    stream.latch.restore(stream.spec, name[:named], rare)
    stream.probation.restore(rare)
    stream.gaps.restore(missing, rare)


def _move(stream: ReceivedStream, moved: tuple[Any, ...], check: bytes) -> None:
    """Apply what a slot says: since the full state, only packets in sequence came."""
    *numbers, reports = moved
    stream.reception.go_on(*numbers)
    stream.gaps.go_on()
    stream.srtp.restore(stream.spec, stream.reception, check, reports)
