"""The audit log of one customer: append, read, verify (storage.audit.hash_chain defines the format).

`append` queues an act for one thread, which writes everything that is queued together: lock, log, sync, checkpoint
beside the keys, sync. Then it completes the futures. Several processes may append: each locks the file and finds the
end of the chain. A line that a crash cut off was never acknowledged; the next writer removes it and adds an entry that
says so. If the log does not fit its checkpoint, acts are still appended, because they must be recorded, but the
checkpoint is kept as evidence, so every later verification fails. Disk space for later entries is reserved in advance,
because an erasure must be possible, and audited, on a full disk.
"""

import fcntl
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.access.actor import RECORDER
from storage.audit.audit_files import EVERY, AuditFiles, AuditPage, Wanted, lines_of
from storage.audit.checkpoint_thinning import thin
from storage.audit.hash_chain import (
    BROKEN,
    NO_LINES,
    NODE,
    Act,
    AuditError,
    Checkpoint,
    Head,
    Lines,
    Tally,
    Verdict,
    document,
    entry,
    follow,
    origin,
)
from storage.files.append_log import backwards, whole_size
from storage.files.durable_files import Disk, disk_errors, opened, write_all
from storage.files.reserved_space import reserve

MAX_PAGE = 1000  # entries of one page: half a megabyte
RESERVE = 256 << 10  # bytes of disk reserved beyond the end: 800 entries on a full disk


AuditNote = Callable[[str], Awaitable[None]]
"""Writes an act to the audit log before it takes effect; gets the id of its object. If it raises, the act is undone."""


async def unaudited(_: str) -> None:
    """Write nothing to the audit log."""


class Audit:
    """The audit log of one customer, open for appending."""

    def __init__(
        self,
        folder: Path,
        keys_dir: Path,
        customer: str,
        key: Ed25519PrivateKey,
        now: Callable[[], datetime],
        node: int = 0,
    ) -> None:
        """Prepare to append; the files are opened or created at the first act.

        `node`: number of this node if several nodes have a log each, otherwise 0.
        """
        self.customer = customer
        self.public_key = key.public_key()
        self._files = AuditFiles(folder, keys_dir, customer)
        self._node = node
        self._key = key
        self._now = now
        self._fd = -1
        self._head: Head | None = None
        self._reserved = 0
        self._marked = 0
        self._counted: tuple[int, Lines] | None = None  # serial and content of the newest tally of the checkpoints
        self._waiting: list[tuple[Act | None, Future[int]]] = []
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, f"audit-{customer}")

    def append(self, act: Act) -> "Future[int]":
        """Append an act; the future returns its number once it is durable, or raises StorageError."""
        return self._hand_over(act)

    def beat(self) -> "Future[int]":
        """Do the same disk writes as for an entry, without adding one, so that an unrecorded act takes as long."""
        return self._hand_over(None)

    def _hand_over(self, act: Act | None) -> "Future[int]":
        future: Future[int] = Future()
        with self._lock:
            self._waiting.append((act, future))
            first = len(self._waiting) == 1
        if first:
            self._thread.submit(self._commit)
        return future

    def checkpoint(self) -> Checkpoint | None:
        """Append a signed checkpoint beside the log if it has grown; once a minute is enough: `keys/` gets each one."""
        with disk_errors("write a checkpoint of the audit log"):
            mark = self._files.newest_mark(self.public_key)
            if mark is None or mark.head.n <= self._marked:
                return None
            with opened(self._files.marks, os.O_WRONLY | os.O_CREAT) as fd:
                fcntl.flock(fd, fcntl.LOCK_EX)
                size, serial, counted = self._count(fd)
                self._counted = None
                write_all(fd, bytes(mark), size)
                os.fdatasync(fd)
                serial, counted = serial + 1, counted.then([bytes(mark)])
                self._files.put_tally(Tally.sign(self._key, self.customer, serial, counted))
                self._counted = serial, counted
        self._marked = mark.head.n
        return mark

    def accept(self, act: Act, told: Sequence[Checkpoint] = ()) -> int | None:
        """Accept that the log lacks entries, or checkpoints beside it, because a backup was restored.

        `told` are checkpoints from elsewhere. Return the number of the entry that accepts it, None if nothing is lost.
        Raises AuditError if a rollback does not explain every fault. If this is interrupted, call it again.
        """
        self.beat().result()  # continues a log that does not fit: keeps the checkpoint, and adds an entry there
        loss = self._files.lost(self.public_key, told)
        if loss is None:
            return None
        loss = replace(loss, node=self._node)
        entry = self.append(replace(act, object=loss.signed(self._key, self.customer))).result()
        if loss.checkpoints:
            with (
                disk_errors("write a checkpoint of the audit log"),
                opened(self._files.marks, os.O_RDWR | os.O_CREAT) as fd,
            ):
                fcntl.flock(fd, fcntl.LOCK_EX)
                _, serial, _ = self._count(fd)
                there = NO_LINES.then(lines_of(self._files.marks)[0])
                self._files.put_tally(Tally.sign(self._key, self.customer, serial + 1, there))
        return entry

    def _count(self, fd: int) -> tuple[int, int, Lines]:
        """Return the size of the checkpoint file beside the log, and the serial and content of its newest tally.

        Read the file only if its size differs from the one that this process left: reading 90 days takes 20 ms.
        """
        if self._counted is not None and self._counted[1].size == os.fstat(fd).st_size:
            return self._counted[1].size, *self._counted
        lines, _ = lines_of(self._files.marks)
        size = sum(map(len, lines))
        os.ftruncate(fd, size)  # removes half a line that a crash left
        return size, *self._files.counted(self.public_key, lines)

    def thin(self) -> int:
        """Remove old checkpoints that later ones replace; return how many. Once a day is enough."""
        self._counted = None
        return thin(self._files, self.public_key, self.customer, self._now(), self._recount)

    def _recount(self, kept: Sequence[bytes]) -> bool:
        """Sign a tally of the checkpoints that will stay; return False if the file does not fit the last tally."""
        lines, _ = lines_of(self._files.marks)
        tally = self._files.tallied(self.public_key)
        before = tally.begins(lines) if tally else NO_LINES
        if before is None:
            return False
        before = before.then(lines[before.count :])
        serial = tally.serial + 1 if tally else 1
        self._files.put_tally(Tally.sign(self._key, self.customer, serial, NO_LINES.then(kept), before))
        return True

    def read(
        self, since: datetime | None = None, cursor: str | None = None, limit: int = 100, wanted: Wanted = EVERY
    ) -> AuditPage:
        """Return entries, newest first, back to `since`; raises BadCursor."""
        return self._files.read(since, cursor, max(1, min(limit, MAX_PAGE)), wanted)

    def about(self, objects: Collection[str]) -> list[dict[str, Any]]:
        """Return the entries about any of these objects, oldest first; a million entries take two seconds."""
        return list(self._files.about(objects))

    def verify(self) -> Verdict:
        """Check the whole chain and its checkpoints."""
        return self._files.verify(self.public_key)

    def close(self) -> None:
        """Write what is queued, and close the log."""
        self._thread.shutdown(wait=True)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _commit(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            first = self._write([act for act, _ in batch if act is not None])
        except Exception as error:
            self._head = None
            for _, future in batch:
                future.set_exception(error)
        else:
            for act, future in batch:
                future.set_result(first)
                first += act is not None

    def _write(self, acts: Sequence[Act]) -> int:
        """Write acts and the new checkpoint durably; return the number of the first."""
        with disk_errors("write the audit log"):
            fd = self._locked()
            try:
                head, notes = self._find_end(fd)
                data, after = self._lines(head, [*notes, *acts])
                self._reserve(fd, after.size)
                at = head.size if data else max(0, head.size - 1)
                try:
                    write_all(fd, data or os.pread(fd, head.size - at, at), at)
                    os.fdatasync(fd)
                except OSError:
                    os.ftruncate(fd, head.size)
                    self._reserved = 0  # the truncation released the reserved space
                    raise
                if after.n:
                    # A checkpoint that the broken log does not fit is evidence and must not pass for the newest.
                    broken = any(note.action == BROKEN for note in notes)
                    mark = Checkpoint.sign(self._key, self.customer, after, self._now(), self._node)
                    self._files.put_mark(mark, both=broken)
                self._head = after
                return head.n + len(notes) + 1
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)

    def _lines(self, head: Head, acts: Sequence[Act]) -> tuple[bytes, Head]:
        lines = []
        for act in acts:
            line, head = entry(head, act, self._now())
            lines.append(line)
        return b"".join(lines), head

    def _locked(self) -> int:
        """Lock the log against other processes; open it again if another file is in its place."""
        while True:
            if self._fd < 0:
                self._fd = os.open(self._files.log, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._head, self._reserved = None, 0
                Disk().sync_folder(self._files.log.parent)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                same = os.path.samestat(os.stat(self._files.log), os.fstat(self._fd))
            except FileNotFoundError:
                same = False
            if same:
                return self._fd
            os.close(self._fd)
            self._fd = -1

    def _find_end(self, fd: int) -> tuple[Head, list[Act]]:
        """Find the end of the chain; also return entries that report what was wrong there."""
        size = os.fstat(fd).st_size
        if self._head is not None and self._head.size == size:
            return self._head, []
        notes = []
        whole = whole_size(fd, size)
        if whole < size:
            os.ftruncate(fd, whole)
            self._reserved = 0
            notes.append(_note("audit.repair", f"{size - whole} bytes of an unfinished entry were cut off"))
        mark = self._files.newest_mark(self.public_key)
        head, fits = _end(fd, whole, mark.head if mark else origin(self.customer), origin(self.customer))
        if not fits:
            if mark:
                self._files.keep_evidence(mark)
            notes.append(_note(BROKEN, "the log does not fit its checkpoint", "failed"))
        if (mark.node if mark else 0) != self._node:
            notes.append(_note(NODE, f"node {self._node}"))
        return head, notes

    def _reserve(self, fd: int, size: int) -> None:
        if size > self._reserved:
            # Not every file system can reserve space; if there is none, the write itself fails.
            reserve(fd, size, RESERVE)
            self._reserved = size + RESERVE // 2


def _note(action: str, reason: str, outcome: str = "done") -> Act:
    return Act.of(RECORDER, "system", action, "audit", outcome, reason)


def _end(fd: int, size: int, mark: Head, start: Head) -> tuple[Head, bool]:
    """Find the last entry; also return whether the log fits the checkpoint and the lines after it follow from it."""
    head, fits = mark, size >= mark.size
    if fits and mark.size:
        line = next(backwards(fd, mark.size))[1]
        fits = line.endswith(b'"hash":"' + mark.hash.encode() + b'"}\n')
    rest = os.pread(fd, size - mark.size, mark.size) if fits else b""
    for line in rest.splitlines(keepends=True):
        after, _ = follow(head, line)
        if after is None:
            fits = False
            break
        head = after
    return (head, True) if fits else (_last(fd, size, start), False)


def _last(fd: int, size: int, start: Head) -> Head:
    """Return the head at the last line without checking it, because the chain must continue from somewhere."""
    for _, line in backwards(fd, size):
        try:
            found = document(line)
            return Head(found["n"], str(found["hash"]), size)
        except (AuditError, KeyError):
            break
    return Head(start.n, start.hash, size)
