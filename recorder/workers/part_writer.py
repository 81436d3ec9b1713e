"""Write a call's media part: records in, whole encrypted segments out, with a buffer for what the disk refuses."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from sys import intern
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from media.records import commit_slots, record_format
from recorder.workers.messages import Part
from storage.vault.container import PartSecret, Sealer

#: Plaintext kept while a part cannot be written: 16 s of two G.711 streams.
MAX_BACKLOG = 256 * 1024
#: ns a segment of a slow codec may stay open before it is padded, if the padding limit allows.
PAD_AGE = 2_000_000_000
#: Padding is at most this share of what is written, so that no slow codec doubles.
PAD_SHARE = 8


class Missed(NamedTuple):
    """Packets that were dropped because the disk did not take them."""

    # earliest possible arrival of the first of them, ns since the epoch
    since: int
    # packets per stream
    packets: Counter[int]


NOTHING = Missed(0, Counter())


class SavedRest(NamedTuple):
    """A slot of the spool, and how much of its remainder is the start of the record that the sealed part splits."""

    descriptor: int
    at: int
    length: int
    begun: int


class PartWriter:
    """One media part being written; disk errors are stored in `trouble`, never raised."""

    __slots__ = (
        "_aged",
        "_backlog",
        "_begun",
        "_cipher",
        "_dropped_from",
        "_fd",
        "_finished",
        "_missed",
        "_padded",
        "_saved_rest",
        "_sealer",
        "_segment",
        "_spool_key",
        "_unwritten",
        "_written_at",
        "_written_before",
        "name",
        "number",
        "trouble",
    )  # fmt: skip

    def __init__(self, part: Part, descriptor: int, spool_key: bytes) -> None:
        """`spool_key`: opens and seals the slots of the call, in which the rest is saved."""
        self.name = intern(part.name)
        self.number = int(part.name[1:])  # 3 of "m3"
        self._fd = descriptor
        self._segment = part.segment
        self._sealer = Sealer(PartSecret(part.key, part.prefix, part.segment))
        #: Plaintext of the record that the sealed part splits, from its start to the split; the sealer has the
        #: remainder.
        self._begun = b""
        #: The slot in which both are stored while nobody needs them.
        self._saved_rest: SavedRest | None = None
        self._spool_key = spool_key
        #: The spool's sealer, for as long as a commit lasts.
        self._cipher: AESGCM | None = None
        #: Ciphertext the disk has not taken; records that wait behind it; since when records are dropped.
        self._unwritten = b""
        self._backlog: bytes | bytearray = b""
        self._dropped_from: int | None = None
        #: Dropped packets that were not reported yet.
        self._missed = NOTHING
        self._padded = 0
        self._finished = False
        #: When the open segment got its first byte (ns); None: it is empty.
        self._aged: int | None = None
        #: When (ns) records were last appended, and the time before: records of a round arrived since the previous one.
        self._written_at: int | None = None
        self._written_before = 0
        #: errno of the last write if it failed.
        self.trouble: int | None = None

    @property
    def open(self) -> bool:
        """Tell whether data wait that the passing of time could seal or write."""
        return self._aged is not None or self.trouble is not None

    @property
    def rest(self) -> tuple[bytes, bytes, bytes | bytearray]:
        """Return the plaintext a successor would have to write again, from the start of a record, in pieces."""
        if self._saved_rest is not None:
            self._fetch()
        return self._begun, self._sealer.pending, self._backlog

    @property
    def remainder(self) -> bytes:
        """Return `rest` as one bytes object."""
        return b"".join(self.rest)

    @property
    def cipher(self) -> AESGCM:
        """Return the sealer of this commit's slot."""
        if self._cipher is None:
            self._cipher = commit_slots.cipher_of(self._spool_key)
        return self._cipher

    def leave_rest(self, descriptor: int, at: int, length: int) -> None:
        """Keep the rest in the slot that was just saved, not in memory: 4 KB a call. It stays there until the next
        save.

        The slot has `length` bytes.
        """
        self._cipher = None
        if self._unwritten or self._backlog:
            return
        self._saved_rest = SavedRest(descriptor, at, length, len(self._begun))
        self._sealer.put_aside()
        self._begun = b""

    def _fetch(self) -> None:
        """Load the rest into memory again; raises OSError or Damaged if somebody changed the spool."""
        saved = self._saved_rest
        if saved is None:
            return
        slot = os.pread(saved.descriptor, saved.length, saved.at)
        if len(slot) != saved.length:
            raise OSError(errno.EIO, "the spool of a call is truncated")
        rest = commit_slots.remainder_of(self.cipher, slot)
        self._begun = rest[: saved.begun]
        self._sealer.take_back(rest[saved.begun :])
        self._saved_rest = None

    @property
    def committed(self) -> int:
        """Return how many ciphertext bytes are certainly written; whole segments only while some are not."""
        written: int = self._sealer.sealed - len(self._unwritten)
        return written // self._segment * self._segment if self._unwritten else written

    def write(self, data: bytes, now: int) -> None:
        """Append records; afterwards `missed` says which of them were dropped."""
        if self._written_at is None or now > self._written_at:
            self._written_before, self._written_at = self._written_at or now, now
        if not self.trouble:
            self._seal(data, now)
        elif self.retry():
            backlog, self._backlog = bytes(self._backlog), b""
            self._seal(backlog + self.hole(now) + data, now)
        elif len(self._backlog) + len(data) <= MAX_BACKLOG:
            self._backlog = self._backlog or bytearray()
            self._backlog += data
        elif data:
            if self._dropped_from is None:
                self._dropped_from = self._written_before
            fresh = Counter(stream for stream, _ in _packets(data))
            self._missed = Missed(self._dropped_from, self._missed.packets + fresh)

    @property
    def dropping(self) -> bool:
        """Tell whether records are being dropped."""
        return self._dropped_from is not None

    def hole(self, now: int) -> bytes:
        """Return the mark of what was dropped so far, for the next record to be written; empty if nothing was."""
        begun, self._dropped_from = self._dropped_from, None
        if begun is None:
            return b""
        lasted = max(0, now - begun)  # the clock may have been changed
        return record_format.mark(record_format.ALL_STREAMS, record_format.Mark.DISK, begun, lasted)

    def missed(self) -> Missed:
        """Return what was dropped, each packet once."""
        missed, self._missed = self._missed, NOTHING
        return missed

    def _seal(self, data: bytes, now: int) -> None:
        if self._saved_rest is not None:
            self._fetch()
        sealer = self._sealer
        pending = sealer.pending
        sealed = sealer.add(data)
        if sealed:
            self._put(sealed, pending, data)
            self._aged = now if sealer.pending else None
            return
        if sealer.pending and self._aged is None:
            self._aged = now
        if self._aged is not None and now - self._aged > PAD_AGE:
            self._pad()

    def _put(self, sealed: bytes, pending: bytes, data: bytes) -> None:
        """Write ciphertext: `pending` and the records `data`, whose plaintext is dropped once all is written."""
        written = self._try(sealed)
        cut = len(data) - len(self._sealer.pending)
        if written == len(sealed) and cut >= 0:  # what was started before is whole in the part
            self._begun = data[record_format.last_start(data, cut) : cut]
            return
        whole = b"".join((self._begun, pending, data))
        cut = len(whole) - len(self._sealer.pending)
        self._unwritten = sealed[written:]
        self._begun = whole[0 if self._unwritten else record_format.last_start(whole, cut) : cut]

    def _try(self, sealed: bytes) -> int:
        """Write what the disk takes; note why it takes less."""
        try:
            written = os.write(self._fd, sealed)
        except OSError as problem:
            self.trouble = problem.errno or errno.EIO
            return 0
        self.trouble = None if written == len(sealed) else errno.ENOSPC
        return written

    def _pad(self) -> None:
        """Pad a segment that has been open too long, so that it survives a power cut (a crash is covered already)."""
        room = self._sealer.room + 1  # a segment is sealed when more follows it
        if room < record_format.HEAD or (self._padded + room) * PAD_SHARE > self._sealer.sealed:
            return
        self._padded += room
        self._aged = None
        pending, padding = self._sealer.pending, record_format.pad(room)
        self._put(self._sealer.add(padding), pending, padding)

    def retry(self) -> bool:
        """Retry what the disk refused; True when all of it is written."""
        written = self._try(self._unwritten)
        self._unwritten = self._unwritten[written:]
        if self.trouble:
            return False
        whole = self._begun + self._sealer.pending
        self._begun = whole[record_format.last_start(whole, len(self._begun)) : len(self._begun)]
        return True

    def finish(self, data: bytes, now: int) -> bool:
        """Seal the rest as the last segment; False if not all could be written, then `remainder` has it."""
        self._fetch()
        if self._finished:
            return self.retry()
        self.write(data, now)
        if self._unwritten:
            return False
        self._finished, rest = True, self.remainder
        sealed = self._sealer.finish()
        self._unwritten = sealed[self._try(sealed) :]
        if self._unwritten:
            self._begun = rest  # the sealer is empty, and the segment is not on disk
            return False
        self._begun, self._aged = b"", None
        return True

    def untaken(self, at: int) -> Missed:
        """Return what the disk had not taken at the end and was not dropped; since `at` if it took all."""
        rest = list(_packets(self.remainder))
        return Missed(min([at, *(arrival for _, arrival in rest)]), Counter(stream for stream, _ in rest))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


def _packets(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the stream and the arrival (ns since the epoch) of every packet in records."""
    for record in record_format.read([data]):
        if isinstance(record, record_format.Run | record_format.Mixed):
            yield from ((record.stream, arrival) for arrival in record.arrivals)
        elif isinstance(record, record_format.Packet):
            yield record.stream, record.arrival
