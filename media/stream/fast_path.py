"""The fast path: store a batch in sequence with a handful of C calls for all its packets.

If fast_path.c was compiled, most batches take one call of that (media.stream.fast_path_c), with the same bytes and
figures.

Packets of equal size and step become a RUN, others a MIXED. A batch that is not in sequence, has a marker in the wrong
place, or is not genuine takes the slow path (media.stream.receiver), which finds the same packets in the same memory.
"""

from itertools import pairwise, repeat, starmap
from typing import NamedTuple

from media.receive.batch import (  # fmt: skip
    DELTAS,
    FIELDS,
    HEADS,
    LENGTHS,
    NANOS,
    NEAR,
    SECOND,
    WIDE,
    BatchBuffer,
    Lane,
    deltas_of,
    payloads,
    sizes,
)
from media.records import record_format
from media.rtp import header
from media.rtp.sequence import Source
from media.rtp.statistics import jitter_of, jitter_of_all, jitter_of_batch
from media.spec import StreamSpec
from media.srtp.context import Context, lib
from media.srtp.keyring import Keyring
from media.stream import fast_path_c, source_probation
from media.stream.gap_detection import QUIET
from media.stream.reception import MAX_STEP_SECONDS, Reception, signed

_unprotect = lib.srtp_unprotect
_pack_run = record_format.pack_run
_RUN_FIXED = record_format.RUN_HEAD - record_format.HEAD
_RUN_TYPE = record_format.Kind.RUN << 24
_DELTA = record_format.DELTA_NS
#: A batch's memory in words of four bytes: position of the first SSRC, and distance from one packet to the next.
_SSRC_AT, _STRIDE = 2, NEAR // 4
#: Payload bytes of one MIXED, kept small: the record that the last segment cuts is saved for a successor.
MOST = 16 * 1024
#: Packets in the shortest batch.
LEAST = 2


class Opened(NamedTuple):
    """A batch that was decrypted into one memory."""

    buffer: BatchBuffer
    # libsrtp's status, one per packet; empty for plain RTP
    statuses: list[int]
    # the key that was used
    context: Context | None
    # the memory with the packets: the batch buffer; for plain RTP where they were received
    memory: memoryview
    # common length of all packets as received; 0 = they differ
    size: int


def take(
    spec: StreamSpec, reception: Reception, keyring: Keyring | None, storing: bool, lane: Lane, count: int,
    out: list[bytes],
) -> tuple[bool, Opened | None]:  # fmt: skip
    """Store a batch in sequence; return whether it was one, and if not, what was decrypted for the slow path.

    `storing` False: only decrypt, because a pause or an unexplained silence needs each packet to be examined.
    """
    compiled = fast_path_c.path_of(lane.buffer)
    if compiled is None or (keyring is not None and keyring.session is None):
        opened = open_all(keyring, lane, count)
    else:
        outcome = compiled.take(spec.stream, reception, keyring, storing, lane, count, out)
        if outcome == fast_path_c.STORED:
            return True, None
        left = outcome == fast_path_c.OPENED
        opened = _opened(keyring, lane, count, compiled) if left else open_all(keyring, lane, count)
    return storing and opened is not None and store(spec, reception, keyring, lane, count, opened, out), opened


def _opened(keyring: Keyring | None, lane: Lane, count: int, compiled: fast_path_c.CompiledPath) -> Opened:
    """Return what C has decrypted, as `open_all` does."""
    if keyring is None:
        return Opened(lane.buffer, [], None, lane.near, compiled.size)
    return Opened(lane.buffer, compiled.statuses(count), keyring.contexts[0], lane.buffer.near, compiled.size)


def open_all(keyring: Keyring | None, lane: Lane, count: int) -> Opened | None:
    """Decrypt a whole batch; None if a packet is too short or too long, or libsrtp does not support the suite."""
    buffer, size = lane.buffer, lane.common_length(count)
    lengths = () if size else LENGTHS[count](lane.headers, 0)
    shortest, longest = (min(lengths), max(lengths)) if lengths else (size, size)
    least = header.HEADER + keyring.tag if keyring else header.HEADER
    if longest >= WIDE or shortest < least or (keyring is not None and keyring.session is None):
        return None
    if longest > NEAR:
        buffer = buffer.wide
        buffer.gather(lane, lengths or (size,) * count)
    elif keyring is None:
        return Opened(buffer, [], None, lane.near, size)
    else:
        buffer.near[: count * NEAR] = lane.near[: count * NEAR]
    if keyring is None:
        return Opened(buffer, [], None, buffer.near, size)
    if size:
        buffer.lengths[:] = sizes(size)
    else:
        buffer.lengths[: 4 * count] = b"".join([length.to_bytes(4, "little") for length in lengths])
    # zip reuses one tuple, which starmap passes on as it is; map would create one per packet
    calls = zip(repeat(keyring.session, count), buffer.packet_pointers, buffer.length_pointers, strict=False)
    statuses = list(starmap(_unprotect, calls))
    return Opened(buffer, statuses, keyring.contexts[0], buffer.near, size)


def store(
    spec: StreamSpec, reception: Reception, keyring: Keyring | None, lane: Lane, count: int, opened: Opened,
    out: list[bytes],
) -> bool:  # fmt: skip
    """Store a batch in sequence; return False and change nothing if it is not one."""
    source, kind, statuses = reception.current, reception.payload_type, opened.statuses
    if source is None or kind is None or statuses.count(0) != len(statuses):
        return False
    begun, ended = lane.arrival(0), lane.arrival(count - 1)
    deltas = deltas_of(NANOS[count](lane.control, 0), ended // SECOND - begun // SECOND)
    if deltas is None or begun - reception.last_arrival > QUIET:
        return False
    even = opened.size and opened.buffer.stride == NEAR
    tag = keyring.tag if keyring else 0
    plain = keyring is None
    if even and _evenly(spec, reception, source, kind, opened, tag, plain, count, begun, ended, deltas, out):
        return True
    return _mixed(spec, reception, source, kind, opened, tag, plain, lane, count, begun, ended, deltas, out)


def _evenly(
    spec: StreamSpec, reception: Reception, source: Source, kind: int, opened: Opened, tag: int, plain: bool,
    count: int, arrival: int, ended: int, deltas: list[int], out: list[bytes],
) -> bool:  # fmt: skip
    """Store packets of equal size and step as one RUN; return False if they are not."""
    near, ssrc = opened.memory, source.ssrc
    size = opened.size - tag
    firsts = HEADS[count](near, 0)
    first = firsts[0]
    # V=2, no padding, extension, CSRC and marker; then payload type, sequence and timestamp, compared all at once
    each = firsts[1] - first
    if each >> 32 != 1 or first >> 32 != -0x80000000 | kind << 16 | (source.highest + 1) & 0xFFFF:
        return False
    step, timestamp, unit = each & 0xFFFFFFFF, first & 0xFFFFFFFF, reception.unit
    if count == LEAST and plain and not source_probation.follows(spec, unit, step, deltas[0]):
        return False  # a third packet must confirm it
    # a timestamp that wraps would look like the next number, and a number that wraps like the next payload type
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
            spec.stream, kind, count, length, ssrc, step, source.highest + 1, timestamp, arrival,
        )
    )  # fmt: skip
    out.append(DELTAS[count - 1](*[delta // _DELTA for delta in deltas]))
    out.extend(payloads(count, size)(near, 0))
    moved = signed((timestamp - source.timestamp) & 0xFFFFFFFF)
    jitter = jitter_of(reception.jitter, arrival - source.arrival - moved * unit)
    jitter = jitter_of_batch(jitter, deltas, int(step * unit))
    reception.advance(count, timestamp + (count - 1) * step, step, ended, jitter, count * length, length)
    return True


def _mixed(
    spec: StreamSpec, reception: Reception, source: Source, kind: int, opened: Opened, tag: int, plain: bool,
    lane: Lane, count: int, arrival: int, ended: int, deltas: list[int], out: list[bytes],
) -> bool:  # fmt: skip
    """Store packets of any size and step as MIXED; return False if numbers are missing or headers have extras."""
    stride, lengths = opened.buffer.stride, LENGTHS[count](lane.headers, 0)
    heads = FIELDS[stride][count](opened.memory, 0)
    seconds, stamps = heads[1::5], heads[3::5]
    low, unit = (source.highest + 1) & 0xFFFF, reception.unit
    if heads[::5].count(0x80) != count or heads[4::5].count(source.ssrc) != count:
        return False
    marked = seconds.count(kind | 0x80)
    if heads[2::5] != tuple(range(low, low + count)) or seconds.count(kind) + marked != count:
        return False
    steps = [(later - earlier) & 0xFFFFFFFF for earlier, later in pairwise(stamps)]
    leaps = plain and max(steps) * unit > source_probation.LEAP
    if leaps and not all(source_probation.follows(spec, unit, *each) for each in zip(steps, deltas, strict=True)):
        return False  # a packet may have jumped, which a second one must confirm
    over, memory = header.HEADER + tag, opened.memory
    starts = range(header.HEADER, count * stride, stride)
    pieces = [memory[at : at + length - over] for at, length in zip(starts, lengths, strict=False)]
    markers = [second > 127 for second in seconds] if marked else [False] * count
    _write(spec.stream, kind, source, stamps, steps, arrival, deltas, markers, pieces, out)
    moved = signed((stamps[0] - source.timestamp) & 0xFFFFFFFF)
    jitter = jitter_of(reception.jitter, arrival - source.arrival - moved * unit)
    jitter = jitter_of_all(jitter, [delta - signed(step) * unit for delta, step in zip(deltas, steps, strict=True)])
    shortest = _shortest(source.step, steps, unit)
    size, last = sum(lengths) - count * over, lengths[-1] - over
    reception.advance(count, stamps[-1], shortest, ended, jitter, size, last)
    return True


def _shortest(known: int, steps: list[int], unit: float) -> int:
    """Return the smallest timestamp step that can be a packet's length, also of those known before."""
    for step in set(steps):
        if 0 < step * unit <= MAX_STEP_SECONDS * SECOND and (not known or step < known):
            known = step
    return known


def _write(
    stream: int, kind: int, source: Source, stamps: tuple[int, ...], steps: list[int], arrival: int,
    deltas: list[int], markers: list[bool], pieces: list[memoryview], out: list[bytes],
) -> None:  # fmt: skip
    """Write records of at most MOST bytes, each of two packets or more (a packet is shorter than MOST / 8)."""
    count = len(pieces)
    tenths = [delta // _DELTA for delta in deltas]
    most = MOST // (max(map(len, pieces)) or 1)
    begin = 0
    while begin < count:
        end = min(count, begin + most)
        end -= count - end == 1
        out.append(
            record_format.mixed_of(
                stream, kind, source.ssrc, source.highest + 1 + begin, stamps[begin], arrival,
                markers[begin:end], steps[begin : end - 1], tenths[begin : end - 1], pieces[begin:end],
            )
        )  # fmt: skip
        arrival += sum(deltas[begin:end])
        begin = end
