"""The files of an audit log: the log, and the checkpoints beside it and beside the keys; reads and verifies offline."""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from storage import cursors
from storage.access.account import canonical
from storage.audit.hash_chain import (
    ACCEPT,
    BROKEN,
    MAX_LINE,
    NO_LINES,
    NODE,
    Accepted,
    AuditError,
    Checkpoint,
    Head,
    Lines,
    Loss,
    Tally,
    Verdict,
    document,
    follow,
    node_named,
    origin,
    unfinished,
    verify,
)
from storage.files.append_log import backwards, whole_size
from storage.files.durable_files import Disk, disk_errors, opened, write_all
from storage.timestamps import from_text, to_text

LOG_NAME = "audit.jsonl"
MARKS_NAME = "audit.checkpoints"
_OBJECT = re.compile(rb'"object":"([^"\\]*)"')  # a quotation mark inside a value has a backslash before it
_TIME = re.compile(rb'"time":"([^"\\]{27})"')  # text order is time order
MOST_LOOKED_AT = 200_000
"""Most entries read for one page, which takes about a second; other requests may wait for the thread."""
_TOLD = tuple(f'"action":"{action}"'.encode() for action in (ACCEPT, NODE))
_CHUNK = 1 << 20  # bytes searched at once: some milliseconds
SLOT = 512  # bytes of each of the two slots beside the keys: one disk sector, so a power cut leaves it old or new


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some entries, newest first."""

    items: tuple[dict[str, Any], ...]
    """Entries as objects: n, time, actor, role, action, object, outcome, reason, source, hash."""
    next_cursor: str | None
    """Where the next page begins, None after the oldest."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter for entries; a field that is not given matches every entry."""

    actor: str | None = None
    """Who did it: the name in any spelling, or the id, which stays when a name changes or is given to somebody else."""
    action: str | None = None
    """What was done, for example "call.media"."""
    objects: frozenset[str] = frozenset()
    """Ids of objects; one of them must match."""
    until: datetime | None = None
    """Only entries before this time."""

    def may_be(self, line: bytes) -> bool:
        """Return whether a line may match, without parsing it; parsing takes ten times as long."""
        if self.action is not None and f'"action":"{self.action}"'.encode() not in line:
            return False
        found = _OBJECT.search(line) if self.objects else None
        return not self.objects or (found is not None and found[1].decode() in self.objects)

    def meets(self, item: Mapping[str, Any]) -> bool:
        """Return whether a parsed entry matches."""
        if self.action is not None and item.get("action") != self.action:
            return False
        if self.actor not in (None, item.get("actor_id")) and canonical(str(item.get("actor"))) != canonical(
            self.actor or ""
        ):
            return False
        return self.until is None or from_text(item["time"]) < self.until


EVERY = Wanted()


class AuditFiles:
    """The files of a customer's audit log and its checkpoints; reads and verifies them offline."""

    def __init__(self, folder: Path, keys_dir: Path, customer: str) -> None:
        self._customer = customer
        self.log = folder / LOG_NAME
        self.marks = folder / MARKS_NAME
        self.newest = keys_dir / f"{customer}.audit"
        self.tally = keys_dir / f"{customer}.audit.count"
        self.evidence = keys_dir / f"{customer}.audit.broken"

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return every file, whether it exists or not."""
        return self.log, self.marks, self.newest, self.tally, self.evidence

    def newest_mark(self, key: Ed25519PublicKey) -> Checkpoint | None:
        """Return the newest genuine checkpoint beside the keys."""
        marks = [m for m in self._slots() if m.genuine(key, self._customer)]
        return max(marks, key=lambda m: m.head.n, default=None)

    def put_mark(self, mark: Checkpoint, *, both: bool = False) -> None:
        """Write a checkpoint beside the keys, durably, over the older of the two slots, or over `both`."""
        older = self._older()
        _put(self.newest, bytes(mark), older)
        if both:
            _put(self.newest, bytes(mark), 1 - older)

    def tallied(self, key: Ed25519PublicKey) -> Tally | None:
        """Return the newest genuine tally of the checkpoints beside the log."""
        found = [tally for tally in self._tallies() if tally and tally.genuine(key, self._customer)]
        return max(found, key=lambda tally: tally.serial, default=None)

    def put_tally(self, tally: Tally) -> None:
        """Write a tally beside the keys, durably, over the older of the two slots."""
        serials = [each.serial if each else -1 for each in self._tallies()]
        _put(self.tally, bytes(tally), 0 if serials[0] <= serials[1] else 1)

    def counted(self, key: Ed25519PublicKey, lines: Sequence[bytes]) -> tuple[int, Lines]:
        """Return the serial of the newest tally, and the count that the next one has to state for these lines.

        If the file does not fit the tally, the count keeps the tally's value, so the next tally does not fit either.
        """
        tally = self.tallied(key)
        if tally is None:
            return 0, NO_LINES.then(lines)
        known = tally.begins(lines)
        if known is not None:
            return tally.serial, known.then(lines[known.count :])
        return tally.serial, tally.lines

    def _tallies(self) -> list[Tally | None]:
        found: list[Tally | None] = []
        for slot in _slots_of(self.tally):
            try:
                found.append(Tally.parse(slot))
            except AuditError:
                found.append(None)
        return found

    def keep_evidence(self, mark: Checkpoint) -> None:
        """Append to the evidence a checkpoint that the log does not fit."""
        with opened(self.evidence, os.O_WRONLY | os.O_CREAT) as fd:
            write_all(fd, bytes(mark), os.fstat(fd).st_size)
            os.fdatasync(fd)
        Disk().sync_folder(self.evidence.parent)

    def verify(self, key: Ed25519PublicKey, told: Sequence[Checkpoint] = (), supposed: Loss | None = None) -> Verdict:
        """Check the whole chain against every checkpoint found, and against the `told` ones from elsewhere.

        `supposed`: a loss to take as accepted, to see what else is wrong.
        """
        with disk_errors("read the audit log"):
            newest = [m for m in self._slots() if m.genuine(key, self._customer)]
            beside, lost = self._beside(key, counted=supposed is None)
            try:
                marks = [*newest, *marks_of(self.evidence), *told]
            except AuditError as error:
                return Verdict(0, None, str(error))
            if not self.log.exists():
                named = marks or beside or lost
                return Verdict(0, 1 if named else None, "is missing: there is no log" if named else "")
            accepted = tuple(self.accepted(key))
            losses = [*(each.loss for each in accepted), *([supposed] if supposed else [])]
            left = [mark for mark in beside if not any(loss.covers(mark) for loss in losses)]
            lost = [*self._lost_beside_keys(newest, left), *lost]
            found = verify(self._customer, self._lines(), [*marks, *beside], key, losses)
            if found.good:
                found = self._tail(found)
            wrong = next((m.head.n for m in self._strange(key)), None) if found.bad is None else found.bad
            fault = "; ".join(filter(None, [found.fault, *lost]))
            return replace(found, bad=wrong, fault=fault, accepted=accepted)

    def accepted(self, key: Ed25519PublicKey) -> Iterator[Accepted]:
        """Yield the losses that entries of the log accept, oldest first; the root secret is needed to write one."""
        return accepted_in(self._lines() if self.log.exists() else (), key, self._customer)

    def named(self) -> set[int]:
        """Return the numbers of the nodes whose log it was or is, from its entries; 0 before the first such entry."""
        return named_in(self._lines() if self.log.exists() else ())

    def between(self, begin: int, end: int, most: int) -> list[bytes]:
        """Return at most `most` lines from offset `begin`, where a line begins, to offset `end`."""
        with disk_errors("read the audit log"), self.log.open("rb") as file:
            file.seek(begin)
            found: list[bytes] = []
            while file.tell() < end and len(found) < most and (line := file.readline(MAX_LINE)):
                found.append(line)
            return found

    def back_from(self, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that end at or before an offset, newest first, each with the offset of its end."""
        with disk_errors("read the audit log"), opened(self.log, os.O_RDONLY) as fd:
            for start, line in backwards(fd, whole_size(fd, min(end, os.fstat(fd).st_size))):
                yield start + len(line), line

    def lost(self, key: Ed25519PublicKey, told: Sequence[Checkpoint] = ()) -> Loss | None:
        """Return the loss of a continued log that nobody has accepted yet; None if the log lacks nothing.

        Raises AuditError if anything is wrong that a rollback does not explain.
        """
        if self.verify(key, told).good:
            return None
        with disk_errors("read the audit log"):
            here = [*self._slots(), *marks_of(self.evidence), *self._beside(key)[0]]
            loss = self._loss(key, [m for m in here if m.genuine(key, self._customer)], told)
        left = self.verify(key, told, loss)
        if not left.good:
            where = "" if left.bad is None else f"entry {left.bad} "
            hint = "restore the audit log, or keep it as evidence"
            raise AuditError(f"this is no loss that can be accepted: {where}{left.fault}", hint)
        return loss

    def _loss(self, key: Ed25519PublicKey, here: Sequence[Checkpoint], told: Sequence[Checkpoint]) -> Loss:
        """Find the entries that the log lacks although checkpoints name them, `here` or `told` from elsewhere."""
        known = list(self.accepted(key))
        heads, begun = self._heads({mark.head.n for mark in (*here, *told)}, max((e.entry for e in known), default=0))

        def fits(mark: Checkpoint) -> bool:
            return heads.get(mark.head.n) == mark.head

        def new(marks: Sequence[Checkpoint]) -> list[Checkpoint]:
            return [m for m in marks if not fits(m) and not any(each.loss.covers(m) for each in known)]

        ours, theirs = new(here), new(told)
        first = [min(begun)] if ours and begun else []
        if theirs:  # keys that were rolled back with the log fit it, so only checkpoints from elsewhere show the loss
            missed = min(mark.head.n for mark in theirs)
            before = max((m.head.n for m in (*here, *told) if fits(m) and m.head.n < missed), default=0)
            first += [before + 1] if not first or missed < first[0] else []
        tally, lines = self.tallied(key), lines_of(self.marks)[0]
        gone = tally.lines.count if tally is not None and tally.begins(lines) is None else 0
        if not first:
            return Loss(0, 0, "", "", gone)
        last = max((*ours, *theirs), key=lambda mark: mark.head.n)
        return Loss(min(first), last.head.n, last.head.hash, max(mark.at for mark in (*ours, *theirs)), gone)

    def _heads(self, wanted: Collection[int], after: int) -> tuple[dict[int, Head], list[int]]:
        """Return the heads of the chain at these entries, and the entries after `after` that continue a broken log."""
        heads: dict[int, Head] = {}
        begun: list[int] = []
        head: Head | None = origin(self._customer)
        for line in self._lines():
            head, _ = follow(head, line) if head else (None, "")
            if head is None:
                break
            if head.n in wanted:
                heads[head.n] = head
            if head.n > after and f'"action":"{BROKEN}"'.encode() in line:
                begun.append(head.n)
        return heads, begun

    def _beside(self, key: Ed25519PublicKey, *, counted: bool = True) -> tuple[list[Checkpoint], list[str]]:
        """Return the genuine checkpoints beside the log, and what is wrong with that file.

        `counted`: also check that it holds as many as were written.
        """
        lines, tail = lines_of(self.marks)
        read = [mark for mark in map(_readable, lines) if mark]
        good = [mark for mark in read if mark.genuine(key, self._customer)]
        out = []
        if len(read) < len(lines):
            out.append(f"{len(lines) - len(read)} of {len(lines)} checkpoints beside the log are damaged")
        if len(good) < len(read):
            strange = f"{len(read) - len(good)} of {len(lines)} checkpoints beside the log"
            out.append(f"{strange} were not signed with this customer's key")
        tally = self.tallied(key)
        if tally is None and self.tally.exists():
            out.append("the signed count of the checkpoints beside the log is not genuine")
        if counted and tally is not None and tally.begins(lines) is None:
            out.append(
                f"the checkpoints beside the log are not those that were written: {tally.lines.count} were written, "
                f"{len(lines)} are there, and some of them are missing, changed or older"
            )
        if tail:
            out.append(f"{len(tail)} bytes at the end of the checkpoints beside the log are not a checkpoint")
        return good, out

    def _strange(self, key: Ed25519PublicKey) -> Iterator[Checkpoint]:
        for mark in map(_readable, lines_of(self.marks)[0]):
            if mark and not mark.genuine(key, self._customer):
                yield mark

    def _lost_beside_keys(self, newest: Sequence[Checkpoint], beside: Sequence[Checkpoint]) -> list[str]:
        """Return what is wrong with the checkpoint beside the keys, which is written before any beside the log."""
        if not newest and self.newest.exists():
            return ["the checkpoint beside the keys is not genuine"]
        if not newest and self.log.stat().st_size:
            return ["the checkpoint beside the keys is missing"]
        ours, theirs = (max((mark.head.n for mark in marks), default=0) for marks in (newest, beside))
        if ours < theirs:
            named = f"names entry {ours} and one beside the log {theirs}"
            return [f"the checkpoint beside the keys {named}: it is an older copy"]
        return []

    def _tail(self, found: Verdict) -> Verdict:
        """Check what follows the last complete line."""
        with opened(self.log, os.O_RDONLY) as fd:
            size = os.fstat(fd).st_size
            end = whole_size(fd, size)
            tail = os.pread(fd, min(size - end, MAX_LINE), end)
        if not tail or (size - end < MAX_LINE and unfinished(Head(found.entries, "", end), tail)):
            return found
        return replace(found, bad=found.entries + 1, fault=f"is missing: {size - end} bytes follow that are no entry")

    def read(self, since: datetime | None, cursor: str | None, limit: int, wanted: Wanted = EVERY) -> AuditPage:
        """Return a page of entries, newest first; a clock that was set back hides no entry.

        If few of very many entries match, the page ends early, with a cursor.
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
                    return AuditPage(tuple(items), cursors.by_numbers(start + len(line)))
                if since is None and not wanted.may_be(line):
                    continue
                item = shown(line)
                if item is None:
                    continue  # damaged: verification reports it; it does not hide the others
                if since is not None and from_text(item["time"]) < since:
                    oldest = _oldest(fd, start, since) if oldest is None else oldest
                    if start <= oldest:
                        break
                    continue
                if not (wanted.may_be(line) and wanted.meets(item)):
                    continue
                items.append(item)
                if len(items) == limit:
                    return AuditPage(tuple(items), cursors.by_numbers(start) if start else None)
        return AuditPage(tuple(items), None)

    def about(self, objects: Collection[str]) -> Iterator[dict[str, Any]]:
        """Yield the entries about any of these objects, oldest first; skip entries that cannot be read."""
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
        """Return those of the two slots that are readable; a power cut may tear the one that is being written."""
        return [mark for mark in map(_readable, _slots_of(self.newest)) if mark]

    def _older(self) -> int:
        marks = [_readable(slot) for slot in _slots_of(self.newest)]
        numbers = [mark.head.n if mark else -1 for mark in marks]
        return 0 if numbers[0] <= numbers[1] else 1

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines, without an unfinished last one, which was never acknowledged."""
        with self.log.open("rb") as file:
            while line := file.readline(MAX_LINE):
                if line.endswith(b"\n") or len(line) == MAX_LINE or file.peek(1):
                    yield line


def shown(line: bytes) -> dict[str, Any] | None:
    """Return an entry, None for one that cannot be read."""
    try:
        found = document(line)
        from_text(found["time"])
    except (AuditError, ValueError, KeyError, TypeError):
        return None
    return found


def _oldest(fd: int, end: int, since: datetime) -> int:
    """Find an offset at or a little before the first entry of that time or later; `end` if there is none."""
    wanted = to_text(since).encode()
    for begin in range(0, end, _CHUNK):
        part = os.pread(fd, min(_CHUNK + MAX_LINE, end - begin), begin)
        if any(time >= wanted for time in _TIME.findall(part)):
            return begin
    return end


def _offset(fd: int, cursor: str, end: int) -> int:
    (at,) = cursors.read_by_numbers(cursor)
    if not (0 < at <= end and os.pread(fd, 1, at - 1) == b"\n"):
        raise cursors.BadCursor
    return at


def accepted_in(lines: Iterable[bytes], key: Ed25519PublicKey, customer: str) -> Iterator[Accepted]:
    """Yield the losses that entries of a log accept, oldest first; skip acceptances for another node's log."""
    node = 0
    for line in lines:
        if not any(action in line for action in _TOLD) or (item := shown(line)) is None:
            continue
        node = node if (named := node_named(item)) is None else named
        loss = Loss.parse(str(item.get("object")), key, customer) if item.get("action") == ACCEPT else None
        if loss is not None and loss.node == node:
            yield Accepted(item["n"], item["time"], str(item.get("actor")), str(item.get("reason")), loss)


def named_in(lines: Iterable[bytes]) -> set[int]:
    """Return the numbers of the nodes whose log it was or is; 0 if the first entry names no node."""
    found = set[int]()
    for number, line in enumerate(lines):
        item = shown(line) if _TOLD[1] in line else None
        named = None if item is None else node_named(item)
        if named is not None or number == 0:
            found.add(named or 0)
    return found or {0}


def marks_of(path: Path) -> list[Checkpoint]:
    """Parse the checkpoints of a file, one a line; raises AuditError."""
    return [Checkpoint.parse(line) for line in lines_of(path)[0]]


def lines_of(path: Path) -> tuple[list[bytes], bytes]:
    """Return the complete lines of a file of checkpoints, and the rest, which may be half a line that a crash left."""
    data = path.read_bytes() if path.exists() else b""
    end = data.rfind(b"\n") + 1
    return [line + b"\n" for line in data[:end].split(b"\n")[:-1]], data[end:]


def _readable(data: bytes) -> Checkpoint | None:
    try:
        return Checkpoint.parse(data)
    except AuditError:
        return None


def _slots_of(path: Path) -> tuple[bytes, bytes]:
    data = path.read_bytes() if path.exists() else b""
    return data[:SLOT], data[SLOT : 2 * SLOT]


def _put(path: Path, data: bytes, slot: int) -> None:
    """Write one of the two slots of a file durably; a power cut leaves the other one intact."""
    with opened(path, os.O_RDWR | os.O_CREAT) as fd:
        fresh = os.fstat(fd).st_size < 2 * SLOT
        if fresh:
            write_all(fd, b" " * 2 * SLOT, 0)
        write_all(fd, data.ljust(SLOT), slot * SLOT)
        os.fdatasync(fd)
    if fresh:
        Disk().sync_folder(path.parent)
