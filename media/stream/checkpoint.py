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
from media.rtp.sequence import FULL, WINDOW, Source
from media.spec import Address, pack_ip, unit_of
from media.srtp.srtcp import Srtcp
from media.stream import gap_detection
from media.stream.gaps import UNSETTLED, Gaps
from media.stream.receiver import Track
from media.stream.source_probation import Unproven

#: Rare state in bytes is capped by MAX_GAPS and MAX_SOURCES: 128 × 90 + 16 × 400.
_HOT = struct.Struct(f"!BB28sb8sQQQQQQQQQdI IqQQQQiIIQ{WINDOW // 8}sI".replace(" ", ""))
#: Of the newest packet: its extended number, timestamp, arrival and step; payload bytes so far, jitter, reports sent.
_MOVING = "QIQIQdI"
_MOVING_OF = [struct.Struct("!" + _MOVING * n) for n in range(3)]
_NOBODY = Source(0, 1)
_FULL = FULL.to_bytes(WINDOW // 8, "big")
NO_CHECK = bytes(8)
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
        source = track.current or _NOBODY
        numbers += (
            source.highest, source.timestamp, source.arrival, source.step, track.size, track.jitter, track.reports,
        )  # fmt: skip
    return _moving_of(len(tracks)).pack(*numbers)


def _moving_of(count: int) -> struct.Struct:
    """Give the form of as many streams; nearly all calls have one or two."""
    return _MOVING_OF[count] if count < len(_MOVING_OF) else struct.Struct("!" + _MOVING * count)


def _pack(track: Track) -> tuple[bytes, bytes]:
    source, cold = track.current, track.cold
    if cold is None:
        cold = track.cold = _cold(track)
    gaps, keyring = track.gaps, track.keyring
    counters = (
        track.packets, track.duplicates, track.rejected, track.foreign, track.late, track.reordered, track.size,
        track.first_arrival, gaps.missing_ns,
    )  # fmt: skip
    if source is None:
        place: tuple[int | bytes, ...] = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b"")
    else:
        window = _FULL if source.window == FULL else source.window.to_bytes(WINDOW // 8, "big")
        place = (
            source.ssrc, source.first, source.highest, source.received, source.excused, source.settled, source.shift,
            source.timestamp, source.step, source.arrival, window,
        )  # fmt: skip
    hot = _HOT.pack(
        track.spec.stream, len(track.name), track.name, track.payload_type,
        keyring.check if keyring else NO_CHECK, *counters, track.jitter, track.reports, *place, len(cold),
    )  # fmt: skip
    return hot, cold


def _cold(track: Track) -> bytes:
    """Encode what changes rarely."""
    others = [
        [
            s.ssrc,
            s.first,
            s.highest,
            s.received,
            s.excused,
            s.settled,
            s.shift,
            s.timestamp,
            s.step,
            s.arrival,
            f"{s.window:x}",
        ]
        for s in track.sources
        if s is not track.current
    ]
    rare = {
        "others": others,
        "gaps": track.gaps.items,
        "retired": track.retired,
        "excused": [track.excused_from, track.excused_until],
        "since": track.since if track.since > track.last_arrival else 0,
        "refused": track.refused,
        "current": track.current is not None,
    }
    if track.listened and track.current is None:
        rare["listened"] = track.listened
    if gap_detection.unheard(track):
        rare["outage"] = track.resumed_at
    if track.name and track.latched != track.offered:
        rare["offered"] = track.spec.source  # a successor may know another offer only
    if track.epoch:
        rare["epoch"] = track.epoch
    if track.unproven:
        rare["unproven"] = [each.to_state() for each in track.unproven]
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
                _move(track, _MOVING_OF[1].unpack_from(moved, number * _MOVING_OF[1].size))
                _restore_keys(track, fields[4])
            at, number = end, number + 1
    except (struct.error, ValueError, KeyError, TypeError):
        raise Damaged("the state of the streams in a spool is damaged") from None
    return knew


def _restore(track: Track, fields: tuple[Any, ...], rare: dict[str, Any]) -> None:
    (
        _,
        named,
        name,
        track.payload_type,
        _,
        track.packets,
        track.duplicates,
        track.rejected,
        track.foreign,
        track.late,
        track.reordered,
        track.size,
        track.first_arrival,
        missing,
        track.jitter,
        track.reports,
        *place,
        _,
    ) = fields
    track.name, track.epoch = name[:named], rare.get("epoch", 0)  # a version before this one wrote neither
    track.unproven = tuple(Unproven.from_state(each) for each in rare.get("unproven", ()))
    if track.name and _offered(track, rare) != track.offered:
        track.coming = (track.allowed,)  # it was chosen under another offer, and whoever chose it is dead
    track.unit = unit_of(track.spec.codec(track.payload_type)[1])
    sources = [_source([*values[:-1], int(values[-1], 16)]) for values in rare["others"]]
    if rare["current"]:
        *numbers, window = place
        track.current = _source([*numbers, int.from_bytes(window, "big")])
        sources.append(track.current)
    track.sources = tuple(sources)
    track.retired = (rare["retired"][0], rare["retired"][1], rare["retired"][2])
    track.excused_from, track.excused_until = rare["excused"]
    track.since = rare["since"]
    track.listened = rare.get("listened", 0)
    if "outage" in rare:
        track.resumed_at, track.kept = rare["outage"], False
    track.refused = tuple(rare["refused"])
    track.gaps = Gaps()
    track.gaps.items = tuple(tuple(gap) for gap in rare["gaps"])
    track.gaps.missing_ns = missing
    track.unsettled = any(gap[-1] == UNSETTLED for gap in track.gaps.items)


def _offered(track: Track, rare: dict[str, Any]) -> Address | None:
    """Give where the offer of then said that media come from; mostly there they came from."""
    if "offered" not in rare:
        return track.latched
    source = rare["offered"]
    return source and (pack_ip(source[0]), source[1])


def _move(track: Track, moved: tuple[Any, ...]) -> None:
    """Go on to what a slot says: since its base only packets in unbroken order came."""
    highest, timestamp, arrival, step, track.size, track.jitter, track.reports = moved
    source = track.current
    if source is not None:
        count = highest - source.highest
        source.advance(count)
        track.packets += count
        source.timestamp, source.arrival, source.step = timestamp, arrival, step
        track.last_arrival = arrival
    track.since = track.since or track.last_arrival


def _restore_keys(track: Track, check: bytes) -> None:
    if track.keyring:
        indexes = [(s.ssrc, ((s.highest >> 16) + s.shift) << 16 | s.highest & 0xFFFF) for s in track.sources if s.known]
        if track.keyring.walk(check, indexes) and track.current:
            track.keyring.contexts[0].shift = track.current.shift
    if track.outgoing and track.spec.own_suite:
        # the last reports may have been sent after the commit
        track.reports += 2
        track.outgoing = Srtcp(track.spec.own_suite, track.spec.own_key, track.reports)


def _source(values: list[int]) -> Source:
    """Make a source from its numbers, in the order of `pack`."""
    source = Source(values[0], 0)
    (
        source.first, source.highest, source.received, source.excused, source.settled, source.shift, source.timestamp,
        source.step, source.arrival, source.window,
    ) = values[1:]  # fmt: skip
    source.known = True
    return source
