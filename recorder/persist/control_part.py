"""The control part of a recording: signalling and documents, written by main, sealed before any request is answered."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial

from recorder.errors import NotPossible
from recorder.runtime.disk_thread import Disk, DiskAway
from storage.vault.container import HEADER, PartSecret, Sealer

RECORD_HEAD = 4
"""Bytes of a record's type and length (docs/formats/records.md)."""

MAX_RECORD = (1 << 24) - 1
"""A record's length has 24 bits."""

MAX_BACKLOG = 1 << 20
"""Sealed bytes buffered while the disk takes none; a busy call writes some KB a minute, so this lasts for hours."""

MAX_HELD = 64 << 10
"""Bytes of records that wait for the next flush, which every answer triggers; the start of a call has 10 KB."""


def record(kind: int, body: bytes) -> bytes:
    """Return one framed record; a longer body is truncated to the limit of the format."""
    body = body[:MAX_RECORD]
    return (kind << 24 | len(body)).to_bytes(RECORD_HEAD, "big") + body


def padding(size: int) -> bytes:
    """Return a PAD record of `size` bytes, at least RECORD_HEAD."""
    return record(0, bytes(max(0, size - RECORD_HEAD)))


class ControlPart:
    """An open control part. When `flush` returns, all records since the last one are in the kernel, in one write.

    What the disk refuses is buffered and retried before the next record, so that the file stays genuine: a missing
    segment would make everything behind it unreadable. A hanging disk does not block the event loop
    (recorder.runtime.disk_thread).
    """

    __slots__ = ("_backlog", "_disk", "_fd", "_fresh", "_handed", "_held", "_sealed", "_sealer", "name", "size")

    def __init__(self, name: str, secret: PartSecret, fd: int = -1, disk: Disk | None = None) -> None:
        """`disk` writes for the event loop; without one, the caller waits for the disk.

        Without `fd`, `begin` sets it.
        """
        self.name = name
        self._fd = fd
        self._disk = disk
        self._sealer = Sealer(secret)
        self.size = HEADER  # bytes in the file
        self._backlog = bytearray()  # sealed, not given to the disk thread yet
        self._handed = bytearray()  # given to the disk thread, which may be writing it
        self._held = b""  # records that are not sealed yet
        self._fresh = False
        self._sealed = False

    def begin(self, fd: int) -> None:
        """Take the file, its header written, and write what was sealed before it existed; raises NotPossible."""
        self._fd = fd
        self._put(self._hand_over())

    def through(self, disk: Disk) -> None:
        """Have `disk` write for the event loop from now on."""
        self._disk = disk

    def keep(self, kind: int, body: bytes) -> None:
        """Append a record, to be written by the next flush; raises NotPossible and drops it if too much is waiting."""
        if len(self._backlog) + len(self._handed) > MAX_BACKLOG:
            self._write(b"")
        self._fresh = True
        self._held += record(kind, body)
        if len(self._held) > MAX_HELD:
            data = self._sealer.add(self._take())
            with suppress(DiskAway):  # it is buffered all the same
                self._write(data)

    def flush(self) -> None:
        """Seal the buffered records, so that a crash of the process loses none of them.

        A segment is sealed when more follows, so the padding extends one byte into the next one: a crash may cut off
        that byte, and with it nothing but padding.
        """
        data = self._take()
        if self._fresh:
            self._fresh = False
            data = self._sealer.add(data + padding(self._sealer.room_after(len(data)) + 1))
        self._write(data)

    def finish(self) -> None:
        """Seal the last segment and close the file; after NotPossible only `abandon` is left.

        Waits for the disk: from the event loop, run it in recorder.runtime.disk_thread.
        """
        self.seal()
        self._put(bytes(self._backlog))
        self._backlog.clear()
        self._close()

    def seal(self) -> None:
        """Seal the last segment; only `finish` may follow."""
        if not self._sealed:
            self._sealed = True
            self._backlog += self._sealer.finish(self._take())

    def abandon(self) -> None:
        """Close the file as it is, once the disk has written what it was given."""
        if self._fd >= 0 and self._disk is not None and self._disk.away:
            self._disk.begin(self._close)
        else:
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def _write(self, data: bytes) -> None:
        self._backlog += data
        if self._fd < 0 or not (self._backlog or self._handed):
            return
        if self._disk is None:
            ready = self._hand_over()
            self._put(ready)
        elif self._disk.away:
            raise DiskAway
        else:
            self._disk.within(partial(self._put, self._hand_over()))

    def _hand_over(self) -> bytes:
        ready = bytes(self._backlog)
        self._backlog.clear()
        return ready

    def _put(self, ready: bytes) -> None:
        """Write the given bytes; keep what the disk refuses. Runs in the disk thread if there is one."""
        self._handed += ready
        while self._handed:
            try:
                written = os.write(self._fd, self._handed)
            except OSError as error:
                raise NotPossible("the control part cannot be written", f"({os.strerror(error.errno or 0)})") from None
            del self._handed[:written]
            self.size += written
