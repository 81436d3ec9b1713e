"""The fast path: a batch in unbroken order goes to its record in a handful of C calls for all its packets.

Where fast_path.c was compiled, most batches take one call of that (media.stream.fast_path_c); the bytes and figures are
the same.

Packets of one size and step become a RUN, others a MIXED. Whatever is not in order, marked where it should not be, or
not genuine takes the slow path (media.stream.receiver), which finds the same packets in the same memory.
"""

from __future__ import annotations

from itertools import pairwise, repeat, starmap
from typing import TYPE_CHECKING, NamedTuple

from media.receive.batch import (  # fmt: skip
    DELTAS,
    FIELDS,
    HEADS,
    LENGTHS,
    NANOS,
    NEAR,
    SECOND,
    WIDE,
    Lane,
    Workbench,
    deltas_of,
    payloads,
    sizes,
)
from media.records import record_format
from media.rtp import header
from media.rtp.statistics import jitter_of, jitter_of_all, jitter_of_batch
from media.srtp.context import Context, lib
from media.stream import fast_path_c, gap_detection, source_probation

if TYPE_CHECKING:
    from media.rtp.sequence import Source
    from media.stream.receiver import Track

_unprotect = lib.srtp_unprotect
_pack_run = record_format.pack_run
_RUN_FIXED = record_format.RUN_HEAD - record_format.HEAD
_RUN_TYPE = record_format.Kind.RUN << 24
_DELTA = record_format.DELTA_NS
#: Of the memory of a batch in words of four bytes: the first SSRC, and from one packet to the next.
_SSRC_AT, _STRIDE = 2, NEAR // 4
#: Payload bytes of one MIXED: a successor is left the record that the last segment cuts, so it should not be long.
MOST = 16 * 1024
#: Packets of the shortest batch.
LEAST = 2
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
    # length that all packets had when they were received, 0 = they differ
    size: int


def take(track: Track, lane: Lane, count: int, out: list[bytes]) -> tuple[bool, Opened | None]:
    """Store a batch in unbroken order; tell whether it was that, and if not what the slow path finds opened."""
    road, keyring = fast_path_c.road_of(lane.workbench), track.keyring
    if road is None or (keyring is not None and keyring.session is None):
        opened = open_all(track, lane, count)
    else:
        outcome = road.take(track, lane, count, out)
        if outcome == fast_path_c.STORED:
            return True, None
        opened = _opened(track, lane, count, road) if outcome == fast_path_c.OPENED else open_all(track, lane, count)
    return opened is not None and not track.pauses.items and store(track, lane, count, opened, out), opened


def _opened(track: Track, lane: Lane, count: int, road: fast_path_c.Road) -> Opened:
    """Tell what C has left where open_all would have."""
    if track.keyring is None:
        return Opened(lane.workbench, [], None, lane.near, road.size)
    return Opened(lane.workbench, road.statuses(count), track.keyring.contexts[0], lane.workbench.near, road.size)


def open_all(track: Track, lane: Lane, count: int) -> Opened | None:
    """Decrypt a whole batch; None if a packet is too short or too long, or the suite is not libsrtp's."""
    keyring, bench, size = track.keyring, lane.workbench, lane.common_length(count)
    lengths = () if size else LENGTHS[count](lane.headers, 0)
    shortest, longest = (min(lengths), max(lengths)) if lengths else (size, size)
    least = header.HEADER + keyring.tag if keyring else header.HEADER
    if longest >= WIDE or shortest < least or (keyring is not None and keyring.session is None):
        return None
    if longest > NEAR:
        bench = bench.wide
        bench.gather(lane, lengths or (size,) * count)
    elif keyring is None:
        return Opened(bench, [], None, lane.near, size)
    else:
        bench.near[: count * NEAR] = lane.near[: count * NEAR]
    if keyring is None:
        return Opened(bench, [], None, bench.near, size)
    if size:
        bench.lengths[:] = sizes(size)
    else:
        bench.lengths[: 4 * count] = b"".join([length.to_bytes(4, "little") for length in lengths])
    # zip fills one tuple again and again, which starmap hands on as it is; map would make one a packet
    calls = zip(repeat(keyring.session, count), bench.packet_pointers, bench.length_pointers, strict=False)
    statuses = list(starmap(_unprotect, calls))
    return Opened(bench, statuses, keyring.contexts[0], bench.near, size)


def store(track: Track, lane: Lane, count: int, opened: Opened, out: list[bytes]) -> bool:
    """Store a batch in unbroken order; False if it is not that, and nothing has changed."""
    source, statuses = track.current, opened.statuses
    if source is None or track.unsettled or statuses.count(0) != len(statuses):
        return False
    begun, ended = lane.arrival(0), lane.arrival(count - 1)
    deltas = deltas_of(NANOS[count](lane.control, 0), ended // SECOND - begun // SECOND)
    if deltas is None or begun - track.last_arrival > gap_detection.QUIET:
        return False
    even = opened.size and opened.bench.stride == NEAR
    if not (even and _evenly(track, source, opened, count, begun, deltas, out)) and not _mixed(
        track, source, opened, lane, count, begun, deltas, out
    ):
        return False
    source.advance(count)
    source.arrival = track.last_arrival = ended
    track.packets += count
    return True


def _evenly(
    track: Track, source: Source, opened: Opened, count: int, arrival: int, deltas: list[int], out: list[bytes]
) -> bool:
    """Store packets of equal size and step as one RUN; False if they are not that."""
    near, ssrc, payload_type = opened.memory, source.ssrc, track.payload_type
    size = opened.size - (track.keyring.tag if track.keyring else 0)
    firsts = HEADS[count](near, 0)
    first = firsts[0]
    # V=2, no padding, extension, CSRC and marker; then payload type, sequence and timestamp, which move all in one
    each = firsts[1] - first
    if each >> 32 != 1 or first >> 32 != -0x80000000 | payload_type << 16 | (source.highest + 1) & 0xFFFF:
        return False
    step, timestamp = each & 0xFFFFFFFF, first & 0xFFFFFFFF
    if count == LEAST and track.keyring is None and not source_probation.follows(track, step, deltas[0]):
        return False  # a third one has to bear it out
    # a timestamp that wraps would look like the number behind the next one, and a number that wraps like the next type
    if timestamp + (count - 1) * step >> 32 or (firsts[-1] ^ first) >> 48:
        return False
    if firsts != tuple(range(first, first + count * each, each)):
        return False
    if near.cast("I")[_SSRC_AT : count * _STRIDE : _STRIDE].tobytes() != ssrc.to_bytes(4, "big") * count:
        return False
    length = size - header.HEADER
    out.append(
        _pack_run(
            _RUN_TYPE | _RUN_FIXED + 2 * (count - 1) + count * length,
            track.spec.stream, payload_type, count, length, ssrc, step, source.highest + 1, timestamp, arrival,
        )
    )  # fmt: skip
    out.append(DELTAS[count - 1](*[delta // _DELTA for delta in deltas]))
    out.extend(payloads(count, size)(near, 0))
    unit = track.unit
    moved = _signed((timestamp - source.timestamp) & 0xFFFFFFFF)
    jitter = jitter_of(track.jitter, arrival - source.arrival - moved * unit)
    track.jitter = jitter_of_batch(jitter, deltas, int(step * unit))
    source.step, source.timestamp = step, timestamp + (count - 1) * step
    track.size += count * length
    track.last_size = length
    return True


def _mixed(
    track: Track, source: Source, opened: Opened, lane: Lane, count: int, arrival: int, deltas: list[int],
    out: list[bytes],
) -> bool:  # fmt: skip
    """Store packets of any sizes and steps as MIXED; False if their numbers have a gap or their headers are long."""
    stride, lengths = opened.bench.stride, LENGTHS[count](lane.headers, 0)
    heads = FIELDS[stride][count](opened.memory, 0)
    seconds, stamps = heads[1::5], heads[3::5]
    low, kind = (source.highest + 1) & 0xFFFF, track.payload_type
    if heads[::5].count(0x80) != count or heads[4::5].count(source.ssrc) != count:
        return False
    marked = seconds.count(kind | 0x80)
    if heads[2::5] != tuple(range(low, low + count)) or seconds.count(kind) + marked != count:
        return False
    steps = [(later - earlier) & 0xFFFFFFFF for earlier, later in pairwise(stamps)]
    leaps = track.keyring is None and max(steps) * track.unit > source_probation.LEAP
    if leaps and not all(source_probation.follows(track, *each) for each in zip(steps, deltas, strict=True)):
        return False  # a packet may have leapt, which a second one has to bear out
    over, memory = header.HEADER + (track.keyring.tag if track.keyring else 0), opened.memory
    starts = range(header.HEADER, count * stride, stride)
    pieces = [memory[at : at + length - over] for at, length in zip(starts, lengths, strict=False)]
    markers = [second > 127 for second in seconds] if marked else [False] * count
    _write(track, source, stamps, steps, arrival, deltas, markers, pieces, out)
    _note(track, source, stamps, steps, arrival, deltas)
    track.size += sum(lengths) - count * over
    track.last_size = lengths[-1] - over
    return True


def _write(
    track: Track, source: Source, stamps: tuple[int, ...], steps: list[int], arrival: int, deltas: list[int],
    markers: list[bool], pieces: list[memoryview], out: list[bytes],
) -> None:  # fmt: skip
    """Write records of at most MOST bytes, each of two packets or more (a packet has less than an eighth of MOST)."""
    count = len(pieces)
    tenths = [delta // _DELTA for delta in deltas]
    most = MOST // (max(map(len, pieces)) or 1)
    begin = 0
    while begin < count:
        end = min(count, begin + most)
        end -= count - end == 1
        out.append(
            record_format.mixed_of(
                track.spec.stream, track.payload_type, source.ssrc, source.highest + 1 + begin, stamps[begin], arrival,
                markers[begin:end], steps[begin : end - 1], tenths[begin : end - 1], pieces[begin:end],
            )
        )  # fmt: skip
        arrival += sum(deltas[begin:end])
        begin = end


def _note(
    track: Track, source: Source, stamps: tuple[int, ...], steps: list[int], arrival: int, deltas: list[int]
) -> None:
    """Note the clocks of a batch: jitter, the length of a packet, the newest timestamp."""
    unit = track.unit
    moved = _signed((stamps[0] - source.timestamp) & 0xFFFFFFFF)
    jitter = jitter_of(track.jitter, arrival - source.arrival - moved * unit)
    track.jitter = jitter_of_all(
        jitter, [delta - _signed(step) * unit for delta, step in zip(deltas, steps, strict=True)]
    )
    for step in set(steps):
        if 0 < step * unit <= MAX_STEP_SECONDS * SECOND and (not source.step or step < source.step):
            source.step = step
    source.timestamp = stamps[-1]


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
