"""The fast road: a batch in unbroken order goes to its record in a handful of C calls for all its packets.

Packets of one size and step become a RUN, others a MIXED. Whatever is not in order, marked where it should not be, or
not genuine takes the slow road (media.track), which finds the same packets in the same memory.
"""

from __future__ import annotations

from itertools import pairwise, repeat
from operator import floordiv
from typing import TYPE_CHECKING, NamedTuple

from media import holes, records, rtp
from media.batch import DELTAS, FIELDS, HEADS, NEAR, TIMES, WIDE, Lane, Workbench, deltas_of, payloads, sizes
from media.quality import jitter_of, jitter_of_all, jitter_of_batch
from media.srtp import Context, lib

if TYPE_CHECKING:
    from media.track import Track

_unprotect = lib.srtp_unprotect
_pack_run = records.pack_run
_RUN_FIXED = records.RUN_HEAD - records.HEAD
_RUN_TYPE = records.Kind.RUN << 24
_DELTA = records.DELTA_NS
_SECOND = 1_000_000_000
#: Payload bytes of one MIXED: a successor is left the record that the last segment cuts, so it should not be long.
MOST = 16 * 1024
#: A timestamp step above this many seconds is a pause, not a packet's length.
MAX_STEP_SECONDS = 1


class Opened(NamedTuple):
    """A batch that is readable in one memory."""

    bench: Workbench
    # libsrtp's, one a packet; empty for plain RTP
    statuses: list[int]
    # the key that was tried
    context: Context | None
    # where the packets lie: in the bench, or plain where they were received
    memory: memoryview


def open_all(track: Track, lane: Lane, count: int, lengths: tuple[int, ...]) -> Opened | None:
    """Decrypt a whole batch; None if a packet is too short or too long, or the suite is not libsrtp's."""
    keyring, bench, longest = track.keyring, lane.workbench, max(lengths)
    least = rtp.HEADER + keyring.tag if keyring else rtp.HEADER
    if longest >= WIDE or min(lengths) < least or (keyring is not None and keyring.session is None):
        return None
    if longest > NEAR:
        bench = bench.wide
        bench.gather(lane, lengths)
    elif keyring is None:
        return Opened(bench, [], None, lane.near)
    else:
        bench.near[: count * NEAR] = lane.near[: count * NEAR]
    if keyring is None:
        return Opened(bench, [], None, bench.near)
    if lengths.count(longest) == count:
        bench.lengths[:] = sizes(longest)
    else:
        bench.lengths[: 4 * count] = b"".join([length.to_bytes(4, "little") for length in lengths])
    statuses = list(map(_unprotect, repeat(keyring.session, count), bench.packet_pointers, bench.length_pointers))
    return Opened(bench, statuses, keyring.contexts[0], bench.near)


def store(track: Track, lane: Lane, opened: Opened, lengths: tuple[int, ...], out: list[bytes]) -> bool:
    """Store a batch in unbroken order; False if it is not that, and nothing has changed."""
    count = len(lengths)
    if track.current is None or track.unsettled or opened.statuses.count(0) != len(opened.statuses):
        return False
    times = TIMES[count](lane.control, 0)
    deltas = deltas_of(times)
    if deltas is None or times[0] * _SECOND + times[1] - track.last_arrival > holes.QUIET:
        return False
    if lengths.count(lengths[0]) == count and opened.bench.stride == NEAR:
        return _evenly(track, opened.memory, count, lengths[0], times, deltas, out) or _mixed(
            track, opened, lengths, times, deltas, out
        )
    return _mixed(track, opened, lengths, times, deltas, out)


def _evenly(
    track: Track, near: memoryview, count: int, size: int, times: tuple[int, ...], deltas: list[int], out: list[bytes]
) -> bool:
    """Store packets of equal size and step as one RUN; False if they are not that."""
    source = track.current
    if source is None:
        return False
    if track.keyring:
        size -= track.keyring.tag
    heads = HEADS[count](near, 0)
    firsts, ssrc = heads[::2], source.ssrc
    first = firsts[0]
    # V=2, no padding, extension, CSRC and marker; then payload type, sequence and timestamp, which move all in one
    each = firsts[1] - first
    if first >> 55 != -0x100 or heads[1::2].count(ssrc) != count or each >> 32 != 1:
        return False
    if firsts != tuple(range(first, first + count * each, each)) or (first >> 48 & 127) != track.payload_type:
        return False
    step, timestamp = each & 0xFFFFFFFF, first & 0xFFFFFFFF
    if (first >> 32 & 0xFFFF) != (source.highest + 1) & 0xFFFF:
        return False
    arrival = times[0] * _SECOND + times[1]
    length = size - rtp.HEADER
    out.append(
        _pack_run(
            _RUN_TYPE | _RUN_FIXED + 2 * (count - 1) + count * length,
            track.spec.stream, track.payload_type, count, length, ssrc, step, source.highest + 1, timestamp, arrival,
        )
    )  # fmt: skip
    out.append(DELTAS[count - 1](*map(floordiv, deltas, repeat(_DELTA))))
    out.extend(payloads(count, size)(near, 0))
    unit = track.unit
    moved = (timestamp - source.timestamp) & 0xFFFFFFFF
    jitter = jitter_of(track.jitter, arrival - source.arrival - moved * unit)
    track.jitter = jitter_of_batch(jitter, deltas, int(step * unit))
    source.advance(count)
    source.step, source.timestamp = step, timestamp + (count - 1) * step
    source.arrival = track.last_arrival = times[-2] * _SECOND + times[-1]
    track.packets += count
    track.size += count * length
    track.last_size = length
    return True


def _mixed(
    track: Track, opened: Opened, lengths: tuple[int, ...], times: tuple[int, ...], deltas: list[int], out: list[bytes]
) -> bool:
    """Store packets of any sizes and steps as MIXED; False if their numbers have a gap or their headers are long."""
    source, count, stride = track.current, len(lengths), opened.bench.stride
    if source is None:
        return False
    heads = FIELDS[stride][count](opened.memory, 0)
    seconds, stamps = heads[1::5], heads[3::5]
    low, kind = (source.highest + 1) & 0xFFFF, track.payload_type
    if heads[::5].count(0x80) != count or heads[4::5].count(source.ssrc) != count:
        return False
    marked = seconds.count(kind | 0x80)
    if heads[2::5] != tuple(range(low, low + count)) or seconds.count(kind) + marked != count:
        return False
    steps = [(later - earlier) & 0xFFFFFFFF for earlier, later in pairwise(stamps)]
    over, memory = rtp.HEADER + (track.keyring.tag if track.keyring else 0), opened.memory
    starts = range(rtp.HEADER, count * stride, stride)
    pieces = [memory[at : at + length - over] for at, length in zip(starts, lengths, strict=False)]
    markers = [second > 127 for second in seconds] if marked else [False] * count
    _write(track, stamps, steps, times, deltas, markers, pieces, out)
    _note(track, stamps, steps, times, deltas)
    source.advance(count)
    track.packets += count
    track.size += sum(lengths) - count * over
    track.last_size = lengths[-1] - over
    return True


def _write(
    track: Track, stamps: tuple[int, ...], steps: list[int], times: tuple[int, ...], deltas: list[int],
    markers: list[bool], pieces: list[memoryview], out: list[bytes],
) -> None:  # fmt: skip
    """Write records of at most MOST bytes, each of two packets or more (a packet has less than an eighth of MOST)."""
    source, count = track.current, len(pieces)
    if source is None:
        return
    tenths = list(map(floordiv, deltas, repeat(_DELTA)))
    most = MOST // (max(map(len, pieces)) or 1)
    begin = 0
    while begin < count:
        end = min(count, begin + most)
        end -= count - end == 1
        arrival = times[2 * begin] * _SECOND + times[2 * begin + 1]
        out.append(
            records.mixed_of(
                track.spec.stream, track.payload_type, source.ssrc, source.highest + 1 + begin, stamps[begin], arrival,
                markers[begin:end], steps[begin : end - 1], tenths[begin : end - 1], pieces[begin:end],
            )
        )  # fmt: skip
        begin = end


def _note(
    track: Track, stamps: tuple[int, ...], steps: list[int], times: tuple[int, ...], deltas: list[int]
) -> None:  # fmt: skip
    """Note the clocks of a batch: jitter, the length of a packet, the newest timestamp and arrival."""
    source, unit = track.current, track.unit
    if source is None:
        return
    moved = _signed((stamps[0] - source.timestamp) & 0xFFFFFFFF)
    arrival = times[0] * _SECOND + times[1]
    jitter = jitter_of(track.jitter, arrival - source.arrival - moved * unit)
    track.jitter = jitter_of_all(
        jitter, [delta - _signed(step) * unit for delta, step in zip(deltas, steps, strict=True)]
    )
    for step in set(steps):
        if 0 < step * unit <= MAX_STEP_SECONDS * _SECOND and (not source.step or step < source.step):
            source.step = step
    source.timestamp = stamps[-1]
    source.arrival = track.last_arrival = times[-2] * _SECOND + times[-1]


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
