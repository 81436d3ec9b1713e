"""The fast path in C, if it was compiled: it does what media.stream.fast_path does with a batch that becomes a RUN, in
one call for all packets.
"""

from __future__ import annotations

from typing import Any

from media.receive.batch import SLOTS, BatchBuffer, Lane
from media.rtp import header
from media.srtp.context import ffi, lib
from media.srtp.keyring import Keyring
from media.stream import fast_path_library, gap_detection
from media.stream.reception import Reception

#: Outcome for a batch: not touched; decrypted into the batch buffer, with libsrtp's status of each packet; or stored as
#: a record and counted.
UNTOUCHED, OPENED, STORED = range(3)


def path_of(buffer: BatchBuffer) -> CompiledPath | None:
    """Return the C path for the batches in a buffer; None if there is no library."""
    known: CompiledPath | None = buffer.extension
    if known is None and (found := fast_path_library.library()) is not None:
        known = CompiledPath(found, buffer)
        buffer.extend(known)
    return known


class CompiledPath:
    """The C path for a worker's batches, with the memory for one batch."""

    def __init__(self, found: Any, buffer: BatchBuffer) -> None:
        self._take, self._none, self._unpack = found.lib.fast_path_take, found.ffi.NULL, found.ffi.unpack
        self._record, self._statuses = (
            found.ffi.new("unsigned char[]", fast_path_library.RECORD),
            found.ffi.new("int[]", SLOTS),
        )
        self._bytes = found.ffi.buffer(self._record)
        self._memory = found.ffi.new("struct fast_path *")

        def ours(type: str, theirs: Any) -> Any:
            return found.ffi.cast(type, int(ffi.cast("uintptr_t", theirs)))

        self._memory.unprotect = ours("int (*)(void *, void *, int *)", ffi.addressof(lib, "srtp_unprotect"))
        self._memory.buffer = ours("unsigned char *", buffer.packet_pointers[0])
        self._memory.lengths = ours("int *", buffer.length_pointers[0])
        self._memory.record, self._memory.statuses = self._record, self._statuses

    def take(
        self, stream: int, reception: Reception, keyring: Keyring | None, storing: bool, lane: Lane, count: int,
        out: list[bytes],
    ) -> int:  # fmt: skip
        """Decrypt a batch and store it if it is in sequence; the caller handles keys that are not libsrtp's.

        `storing` False: only decrypt.
        """
        source, payload_type, memory = reception.current, reception.payload_type, self._memory
        session, tag = (keyring.session, keyring.tag) if keyring else (self._none, 0)
        if source is None or payload_type is None or not storing:
            opened: int = self._take(
                memory, session, lane.place, lane.first, count, tag, False, stream, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0
            )
            return opened
        outcome: int = self._take(
            memory, session, lane.place, lane.first, count, tag, True, stream, payload_type,
            reception.last_arrival, gap_detection.QUIET, source.highest + 1, source.ssrc, source.timestamp,
            source.arrival, reception.unit, reception.jitter,
        )  # fmt: skip
        if outcome == STORED:
            out.append(self._bytes[: memory.written])
            length = memory.size - tag - header.HEADER
            reception.advance(
                count, memory.timestamp, memory.step, memory.arrival, memory.jitter, count * length, length
            )
        return outcome

    @property
    def size(self) -> int:
        """Return the common length of all packets of the last batch as received; 0 = they differ."""
        return int(self._memory.size)

    def statuses(self, count: int) -> list[int]:
        """Return libsrtp's status of each packet in the last decrypted batch."""
        found: list[int] = self._unpack(self._statuses, count)
        return found
