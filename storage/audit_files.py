"""The files of an audit log: the log, its checkpoints beside it and beside the keys; enough to read and verify it
offline.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from storage.account import canonical
from storage.audit_chain import MAX_LINE, AuditError, Checkpoint, Verdict, document, verify
from storage.durable import Disk, disk_errors, opened, write_all
from storage.instants import from_text, to_text
from storage.lines import backwards, whole_size

LOG_NAME = "audit.jsonl"
MARKS_NAME = "audit.checkpoints"
_OBJECT = re.compile(rb'"object":"([^"\\]*)"')  # a quotation mark inside a value has a backslash before it
_TIME = re.compile(rb'"time":"([^"\\]{27})"')  # text order is time order
MOST_LOOKED_AT = 200_000
"""Entries looked at for one page, in a second: another request may be waiting for the thread."""
_CHUNK = 1 << 20  # bytes looked through at once: some milliseconds
SLOT = 512  # bytes of one of the two checkpoints beside the keys; one disk sector, so a power cut leaves it old or new


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some entries, newest first."""

    items: tuple[dict[str, Any], ...]
    """Entries as objects: n, time, actor, role, action, object, outcome, reason, source, hash."""
    next_cursor: str | None
    """Where the next page begins, None after the oldest."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are wanted; what is left out matches every one."""

    actor: str | None = None
    """Name of who did it, in any spelling."""
    action: str | None = None
    """What was done, for example "call.media"."""
    objects: frozenset[str] = frozenset()
    """Ids, of which any will do."""
    until: datetime | None = None
    """Only entries before."""

    def may_be(self, line: bytes) -> bool:
        """Say whether a line may be meant, before it is read: reading takes ten times as long."""
        if self.action is not None and f'"action":"{self.action}"'.encode() not in line:
            return False
        found = _OBJECT.search(line) if self.objects else None
        return not self.objects or (found is not None and found[1].decode() in self.objects)

    def meets(self, item: Mapping[str, Any]) -> bool:
        """Say whether an entry is meant."""
        if self.action is not None and item.get("action") != self.action:
            return False
        if self.actor is not None and canonical(str(item.get("actor"))) != canonical(self.actor):
            return False
        return self.until is None or from_text(item["time"]) < self.until


EVERY = Wanted()


class AuditFiles:
    """Where the audit log of a customer and its checkpoints lie; enough to read and verify it offline."""

    def __init__(self, folder: Path, keys_dir: Path, customer: str) -> None:
        self._customer = customer
        self.log = folder / LOG_NAME
        self.marks = folder / MARKS_NAME
        self.newest = keys_dir / f"{customer}.audit"
        self.evidence = keys_dir / f"{customer}.audit.broken"

    def newest_mark(self, key: Ed25519PublicKey) -> Checkpoint | None:
        """Return the newest genuine checkpoint beside the keys."""
        marks = [m for m in self._slots() if m.genuine(key, self._customer)]
        return max(marks, key=lambda m: m.head.n, default=None)

    def put_mark(self, mark: Checkpoint) -> None:
        """Put a checkpoint beside the keys, durably, over the older of the two."""
        data = bytes(mark).ljust(SLOT)
        with opened(self.newest, os.O_RDWR | os.O_CREAT) as fd:
            fresh = os.fstat(fd).st_size < 2 * SLOT
            if fresh:
                write_all(fd, b" " * 2 * SLOT, 0)
            write_all(fd, data, self._older() * SLOT)
            os.fdatasync(fd)
        if fresh:
            Disk().sync_folder(self.newest.parent)

    def keep_evidence(self, mark: Checkpoint) -> None:
        """Keep a checkpoint that the log does not fit."""
        with opened(self.evidence, os.O_WRONLY | os.O_CREAT) as fd:
            write_all(fd, bytes(mark), os.fstat(fd).st_size)
            os.fdatasync(fd)
        Disk().sync_folder(self.evidence.parent)

    def verify(self, key: Ed25519PublicKey, told: Sequence[Checkpoint] = ()) -> Verdict:
        """Check the whole chain against every checkpoint that can be found, and those that were `told` elsewhere."""
        with disk_errors("read the audit log"):
            newest = [m for m in self._slots() if m.genuine(key, self._customer)]
            try:
                marks = [*newest, *marks_of(self.evidence), *marks_of(self.marks), *told]
            except AuditError as error:
                return Verdict(0, None, str(error))
            if not newest and self.newest.exists():
                return Verdict(0, None, "the checkpoint beside the keys is not genuine")
            if not self.log.exists():
                return Verdict(0, 1 if marks else None, "is missing: there is no log" if marks else "")
            if not newest and self.log.stat().st_size:
                return Verdict(0, None, "the checkpoint beside the keys is missing")
            return verify(self._customer, self._lines(), marks, key)

    def read(self, since: datetime | None, cursor: str | None, limit: int, wanted: Wanted = EVERY) -> AuditPage:
        """Return a page of entries, newest first; none is missed because the clock was set back meanwhile.

        A page of few ones among very many ends early, and has a cursor.
        """
        items: list[dict[str, Any]] = []
        oldest: int | None = None
        with disk_errors("read the audit log"):
            if not self.log.exists():
                return AuditPage((), None)
        with disk_errors("read the audit log"), opened(self.log, os.O_RDONLY) as fd:
            end = whole_size(fd, os.fstat(fd).st_size)
            begin = end if cursor is None else _offset(fd, cursor, end)
            for number, (start, line) in enumerate(backwards(fd, begin), 1):
                if number > MOST_LOOKED_AT:
                    return AuditPage(tuple(items), str(start + len(line)))
                if since is None and not wanted.may_be(line):
                    continue
                item = _shown(line)
                if item is None:
                    continue  # its number is missed, and a verification names it; the others are not hidden by it
                if since is not None and from_text(item["time"]) < since:
                    oldest = _oldest(fd, start, since) if oldest is None else oldest
                    if start <= oldest:
                        break
                    continue
                if not (wanted.may_be(line) and wanted.meets(item)):
                    continue
                items.append(item)
                if len(items) == limit:
                    return AuditPage(tuple(items), str(start) if start else None)
        return AuditPage(tuple(items), None)

    def about(self, objects: Collection[str]) -> Iterator[dict[str, Any]]:
        """Give the entries about any of these objects, oldest first; what cannot be read is passed over."""
        wanted = {each.encode() for each in objects}
        if not wanted or not self.log.exists():
            return
        with disk_errors("read the audit log"):
            for line in self._lines():
                found = _OBJECT.search(line)
                if found and found[1] in wanted:
                    with suppress(AuditError):
                        yield document(line)

    def _slots(self) -> list[Checkpoint]:
        found = []
        for slot in self._raw_slots():
            try:
                found.append(Checkpoint.parse(slot))
            except AuditError:
                continue  # a power cut while it was written; the other one is whole
        return found

    def _raw_slots(self) -> tuple[bytes, bytes]:
        data = self.newest.read_bytes() if self.newest.exists() else b""
        return data[:SLOT], data[SLOT : 2 * SLOT]

    def _older(self) -> int:
        numbers = []
        for slot in self._raw_slots():
            try:
                numbers.append(Checkpoint.parse(slot).head.n)
            except AuditError:
                numbers.append(-1)
        return 0 if numbers[0] <= numbers[1] else 1

    def _lines(self) -> Iterator[bytes]:
        """Give the lines; an unfinished last one was never acknowledged and is left out."""
        with self.log.open("rb") as file:
            while line := file.readline(MAX_LINE):
                if line.endswith(b"\n") or len(line) == MAX_LINE or file.peek(1):
                    yield line


def _shown(line: bytes) -> dict[str, Any] | None:
    """Return an entry, None for one that cannot be read."""
    try:
        found = document(line)
        from_text(found["time"])
    except (AuditError, ValueError, KeyError, TypeError):
        return None
    return found


def _oldest(fd: int, end: int, since: datetime) -> int:
    """Find where, or a little before where, the first entry of that time or later lies; `end` if there is none."""
    wanted = to_text(since).encode()
    for begin in range(0, end, _CHUNK):
        part = os.pread(fd, min(_CHUNK + MAX_LINE, end - begin), begin)
        if any(time >= wanted for time in _TIME.findall(part)):
            return begin
    return end


def _offset(fd: int, cursor: str, end: int) -> int:
    if not (
        cursor.isascii()
        and cursor.isdigit()
        and 0 < (at := int(cursor[:20])) <= end
        and os.pread(fd, 1, at - 1) == b"\n"
    ):
        raise AuditError("the cursor was not made here")
    return at


def marks_of(path: Path) -> list[Checkpoint]:
    """Return the checkpoints of a file, a line each; raises AuditError."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]  # a crash may have left half a line; what it said is beside the keys
    return [Checkpoint.parse(line) for line in whole.splitlines()]
