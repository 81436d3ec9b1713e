"""The control part of a recording: signalling and documents, written by main, sealed before anything is answered."""

from __future__ import annotations

import os

from recorder.errors import NotPossible
from storage.container import HEADER, Sealer
from storage.vault import NewPart

RECORD_HEAD = 4
"""Bytes of a record's type and length (docs/formats/records.md)."""

MAX_RECORD = (1 << 24) - 1
"""A record's length has 24 bits."""


def record(kind: int, body: bytes) -> bytes:
    """Return one framed record; a longer body is cut at the limit of the format."""
    body = body[:MAX_RECORD]
    return (kind << 24 | len(body)).to_bytes(RECORD_HEAD, "big") + body


def padding(size: int) -> bytes:
    """Return a PAD record of `size` bytes, at least RECORD_HEAD."""
    return record(0, bytes(max(0, size - RECORD_HEAD)))


class ControlPart:
    """An open control part; every `keep` is in the kernel when it returns."""

    __slots__ = ("_fd", "_fresh", "_sealer", "failed", "name", "size")

    def __init__(self, name: str, part: NewPart) -> None:
        self.name = name
        self._fd = part.fd
        self._sealer = Sealer(part.secret)
        self.size = HEADER
        self.failed = False
        self._fresh = False

    def keep(self, kind: int, body: bytes) -> None:
        """Append a record; it is only buffered until `flush`."""
        self._fresh = True
        self._write(self._sealer.add(record(kind, body)))

    def flush(self) -> None:
        """Seal what is buffered, so that a crash of the process loses nothing of it.

        A segment is sealed when more follows, so the padding reaches one byte into the next one: a crash may cut that
        byte off, and with it nothing but padding.
        """
        if self._fresh:
            self._fresh = False
            self._write(self._sealer.add(padding(self._sealer.room + 1)))

    def finish(self) -> None:
        """Seal the last segment and close the file."""
        self._write(self._sealer.finish())
        os.close(self._fd)
        self._fd = -1

    def abandon(self) -> None:
        """Close the file as it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, data: bytes) -> None:
        if not data:
            return
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            self.failed = True
            raise NotPossible("the control part cannot be written", f"({os.strerror(error.errno or 0)})") from None
        if written != len(data):
            self.failed = True
            raise NotPossible("the control part was written in part only", "(no space left)")
        self.size += len(data)
