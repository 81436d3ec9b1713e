"""Thinning of the checkpoints beside an audit log: one is added every minute, and the file would grow without end.

A checkpoint is removed only if it is genuine, the log fits it, and a later one of the same hour or day stays. The later
one covers the same entries, and the newest always stays, so a cut of the log is still detected.
"""

import fcntl
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from storage.audit.audit_files import AuditFiles, marks_of
from storage.audit.hash_chain import AuditError, Checkpoint
from storage.files.durable_files import Disk, disk_errors, opened
from storage.timestamps import from_text

LEAST = 256 << 10  # bytes; a day with a checkpoint a minute has twice as many
EVERY_DAYS, HOURLY_DAYS = 2, 90  # ages up to which every checkpoint stays, then one an hour; later one a day


def thin(
    files: AuditFiles,
    key: Ed25519PublicKey,
    customer: str,
    now: datetime,
    recount: Callable[[Sequence[bytes]], bool] = lambda _: True,
) -> int:
    """Remove old checkpoints; return how many. Raises NoSpace, DiskFailed.

    `recount` gets the lines that stay before any is removed, and may refuse. If any checkpoint is wrong, all of them
    stay, so that `recorder audit verify` can report it.
    """
    with disk_errors("thin the checkpoints of the audit log"):
        if not files.marks.exists() or files.marks.stat().st_size < LEAST:
            return 0
    with disk_errors("thin the checkpoints of the audit log"), opened(files.marks, os.O_RDONLY) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            marks = marks_of(files.marks)
            kept = _kept(marks, now)
        except (AuditError, ValueError):
            return 0
        gone = [mark for mark in marks if mark not in kept]
        if not gone or not all(mark.genuine(key, customer) for mark in marks) or not _fits(files.log, gone):
            return 0
        left = [bytes(mark) for mark in marks if mark in kept]
        if not recount(left):
            return 0
        Disk().replace(files.marks, b"".join(left))
        return len(gone)


def _kept(marks: Sequence[Checkpoint], now: datetime) -> frozenset[Checkpoint]:
    """Choose the checkpoints that stay: all new ones, then the newest of each hour, then of each day."""
    newest: dict[object, Checkpoint] = {}
    for mark in marks:
        at = from_text(mark.at)
        place: object = mark
        if now - at > timedelta(days=EVERY_DAYS):
            place = at.date() if now - at > timedelta(days=HOURLY_DAYS) else (at.date(), at.hour)
        newest[place] = max(newest.get(place, mark), mark, key=lambda m: m.head.n)
    return frozenset([*newest.values(), *marks[-1:]])


def _fits(log: Path, marks: Sequence[Checkpoint]) -> bool:
    """Return whether the log has the entries that these checkpoints name, at the offsets they name."""
    if not log.exists():
        return False
    with opened(log, os.O_RDONLY) as fd:
        ends = [(f'"hash":"{mark.head.hash}"}}\n'.encode(), mark.head.size) for mark in marks]
        return all(size >= len(end) and os.pread(fd, len(end), size - len(end)) == end for end, size in ends)
