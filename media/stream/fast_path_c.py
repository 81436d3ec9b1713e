"""The fast path in C, if it was compiled: it does what media.stream.fast_path does with a batch that becomes a RUN, in
one call for all packets.
"""

from __future__ import annotations

import struct
from typing import Any

from media.receive.batch import NEAR, SLOTS, BatchBuffer, Lane
from media.records import record_format
from media.rtp import header
from media.srtp.context import ffi, lib
from media.srtp.keyring import Keyring
from media.stream import fast_path_library, gap_detection
from media.stream.reception import Reception

#: Bytes of the longest RUN that a batch can become.
RECORD = record_format.RUN_HEAD + 2 * (SLOTS - 1) + SLOTS * NEAR

#: `struct batch` of fast_path.c: pointers that are the same for all batches; session and lane; input; output.
_PLACES, _ASKED, _TOLD = struct.Struct("=5Q"), struct.Struct("=qqQqddIIIIiII4x"), struct.Struct("=qdIIII")
_SESSION = _PLACES.size // 8
_LANE = _SESSION + 1
_ASKED_AT = 8 * (_LANE + 1)
_TOLD_AT = _ASKED_AT + _ASKED.size
SIZE = _TOLD_AT + _TOLD.size
#: Used when any silence needs the slow path.
_NOT_FOR_STORING = (0, -(1 << 63), 0, 0, 0, 0)


#: Outcome for a batch: not touched; decrypted into the workbench, with libsrtp's status of each packet; or stored as a
#: record and counted.
UNTOUCHED, OPENED, STORED = range(3)


def _place(thing: Any) -> int:
    return int(ffi.cast("uintptr_t", thing))


def path_of(bench: BatchBuffer) -> CompiledPath | None:
    """Return the C path for the batches of a workbench; None if there is no library."""
    known: CompiledPath | None = bench.extension
    if known is None and (found := fast_path_library.library()) is not None:
        known = CompiledPath(found, bench)
        bench.extend(known)
    return known


class CompiledPath:
    """The C path for a worker's batches, with the memory for one batch."""

    def __init__(self, found: Any, bench: BatchBuffer) -> None:
        self._take = found.fast_path_take
        self._record, self._statuses = ffi.new("char[]", RECORD), ffi.new("int[]", SLOTS)
        self._bytes = ffi.buffer(self._record)
        self._memory = ffi.new("char[]", SIZE)
        self._batch = memoryview(ffi.buffer(self._memory)).cast("B")
        self._pointers = ffi.cast("void **", self._memory)
        self._at = _place(self._memory)
        unprotect = ffi.addressof(lib, "srtp_unprotect")
        bench_at, lengths_at = bench.packet_pointers[0], bench.length_pointers[0]
        places = (unprotect, bench_at, self._record, lengths_at, self._statuses)
        _PLACES.pack_into(self._batch, 0, *map(_place, places))

    def take(
        self, stream: int, reception: Reception, keyring: Keyring | None, storing: bool, lane: Lane, count: int,
        out: list[bytes],
    ) -> int:  # fmt: skip
        """Decrypt a batch and store it if it is in sequence; the caller handles keys that are not libsrtp's.

        `storing` False: only decrypt.
        """
        source = reception.current
        pointers, batch = self._pointers, self._batch
        pointers[_SESSION], pointers[_LANE] = keyring.session if keyring else ffi.NULL, lane.place
        tag = keyring.tag if keyring else 0
        if source is None or not storing:
            _ASKED.pack_into(batch, _ASKED_AT, *_NOT_FOR_STORING, lane.first, count, tag, 0, 0, 0, 0)
        else:
            _ASKED.pack_into(
                batch, _ASKED_AT, reception.last_arrival, gap_detection.QUIET, source.highest + 1, source.arrival,
                reception.unit, reception.jitter, lane.first, count, tag, stream, reception.payload_type, source.ssrc,
                source.timestamp,
            )  # fmt: skip
        outcome: int = self._take(self._at)
        if outcome == STORED:
            ended, jitter, size, written, step, timestamp = _TOLD.unpack_from(batch, _TOLD_AT)
            out.append(self._bytes[:written])
            length = size - tag - header.HEADER
            reception.advance(count, timestamp, step, ended, jitter, count * length, length)
        return outcome

    @property
    def size(self) -> int:
        """Return the common length of all packets of the last batch as received; 0 = they differ."""
        return int(_TOLD.unpack_from(self._batch, _TOLD_AT)[2])

    def statuses(self, count: int) -> list[int]:
        """Return libsrtp's status of each packet in the last decrypted batch."""
        found: list[int] = ffi.unpack(self._statuses, count)
        return found
