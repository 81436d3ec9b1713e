"""State of the streams of a call as bytes: see docs/formats/records.md, "Spool".

`pack` has everything: a fixed structure a stream, and JSON for what is rare (gaps, other sources). A batch in unbroken
order, the fast path, changes seven numbers a stream; `moving` has those. Whatever else changes in a track empties
its `cold`, which tells that `pack` has to be written anew.
"""

import json
import struct
from collections.abc import Collection, Iterable
from typing import Any

from media.errors import Damaged
from media.rtp.sequence import WINDOW
from media.stream.receiver import Track

#: Rare state in bytes is capped by MAX_GAPS and MAX_SOURCES: 128 × 90 + 16 × 400.
_HOT = struct.Struct(f"!BB28sb8sQQQQQQQQQdI IqQQQQiIIQ{WINDOW // 8}sI".replace(" ", ""))
#: Of the newest packet: its extended number, timestamp, arrival and step; payload bytes so far, jitter, reports sent.
_MOVING = "QIQIQdI"
_MOVING_OF = [struct.Struct("!" + _MOVING * n) for n in range(3)]
#: One for all: `json.dumps` makes one each time it is asked for other separators.
_JSON = json.JSONEncoder(separators=(",", ":"))
#: The rare state of nearly every stream: one object for all of them.
_USUAL = b'{"others":[],"gaps":[],"retired":[0,0,0],"excused":[0,0],"since":0,"refused":[0,0],"current":true}'


def pack(tracks: Iterable[Track]) -> bytes:
    """Serialise the streams of a call."""
    return b"".join([part for track in tracks for part in _pack(track)])


def moving(tracks: Collection[Track]) -> bytes | None:
    """Serialise what batches in unbroken order change, once per call and tick; None if more changed since `pack`."""
    numbers: list[int | float] = []
    for track in tracks:
        if track.cold is None:
            return None
        numbers += track.reception.moving()
        numbers.append(track.srtp.reports)
    return _moving_of(len(tracks)).pack(*numbers)


def _moving_of(count: int) -> struct.Struct:
    """Give the form of as many streams; nearly all calls have one or two."""
    return _MOVING_OF[count] if count < len(_MOVING_OF) else struct.Struct("!" + _MOVING * count)


def _pack(track: Track) -> tuple[bytes, bytes]:
    reception = track.reception
    cold = track.keep(_cold(track)) if track.cold is None else track.cold
    hot = _HOT.pack(
        track.spec.stream, len(track.latch.name), track.latch.name, reception.payload_type,
        track.srtp.check, *reception.counters(), track.gaps.missing_ns, reception.jitter,
        track.srtp.reports, *reception.place(), len(cold),
    )  # fmt: skip
    return hot, cold


def _cold(track: Track) -> bytes:
    """Encode what changes rarely."""
    rare = {
        "others": track.reception.others(),
        "gaps": track.gaps.items,
        "retired": track.reception.retired,
        **track.gaps.state(),
        "current": track.reception.current is not None,
        **track.gaps.rarer(),
        **track.latch.rarer(track.spec),
    }
    if track.reception.epoch:
        rare["epoch"] = track.reception.epoch
    rare |= track.probation.rarer()
    encoded = _JSON.encode(rare).encode()
    return _USUAL if encoded == _USUAL else encoded


def restore(state: bytes, moved: bytes, tracks: dict[int, Track]) -> set[int]:
    """Put state and what has moved since back into fresh tracks, SRTP contexts included; give the streams that it knew.

    Streams that are gone are passed over. Damaged if it is none.
    """
    at = number = 0
    knew: set[int] = set()
    try:
        while at < len(state):
            fields = _HOT.unpack_from(state, at)
            end = at + _HOT.size + fields[-1]
            rare = json.loads(state[at + _HOT.size : end])
            knew.add(fields[0])
            track = tracks.get(fields[0])
            if track is not None:
                _restore(track, fields, rare)
                _move(track, _MOVING_OF[1].unpack_from(moved, number * _MOVING_OF[1].size), fields[4])
            at, number = end, number + 1
    except (struct.error, ValueError, KeyError, TypeError):
        raise Damaged("the state of the streams in a spool is damaged") from None
    return knew


def _restore(track: Track, fields: tuple[Any, ...], rare: dict[str, Any]) -> None:
    _, named, name, payload_type, _, *counters, missing, jitter, _ = fields[:16]
    track.reception.switch(payload_type, track.spec.codec(payload_type)[1])
    track.reception.restore(counters, jitter, fields[16:-1], rare)
    track.latch.restore(track.spec, name[:named], rare)
    track.probation.restore(rare)
    track.gaps.restore(missing, rare)


def _move(track: Track, moved: tuple[Any, ...], check: bytes) -> None:
    """Go on to what a slot says: since its base only packets in unbroken order came."""
    *numbers, reports = moved
    track.reception.go_on(*numbers)
    track.gaps.go_on()
    track.srtp.restore(track.spec, track.reception, check, reports)
