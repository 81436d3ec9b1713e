"""The parts of a live call's recording: main writes the control part, the call's worker writes the media parts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from recorder.calls.stream_specs import part_of
from recorder.errors import NotPossible
from recorder.persist import part_files
from recorder.persist.control_part import ControlPart
from recorder.runtime.disk_thread import Disk, DiskAway
from recorder.session.commands import Keep, Kept
from recorder.session.document_builder import encode_call
from recorder.workers.messages import Part
from storage.calls.call_document import CallDocument
from storage.customer.customers import Customer
from storage.vault.vault import Draft, NewPart, Vault


class CallFiles:
    """The files of one call, from its first answer on; before that, the records to be written to them."""

    __slots__ = (
        "_customer", "_lock", "call", "control", "early", "epoch", "finished", "leaf", "maybe_there", "media_fd",
        "media_part", "part", "spool_fd",
    )  # fmt: skip

    def __init__(self, customer: Customer, call: str, leaf: int) -> None:
        self._customer = customer
        self.call = call
        self.leaf = leaf
        self.control: ControlPart | None = None
        self.early: tuple[Keep, ...] = ()  # records from before the control part exists
        self.part: Part | None = None  # the newest media part, until a worker has it
        self.media_part = 0  # number of the newest media part
        self.finished = 0  # number up to which this process knows that the media parts are finished
        self.media_fd = -1
        self.spool_fd = -1  # the call's file in the runtime directory; owned and closed by recorder.persist.checkpoint
        self.epoch = 0  # the syncer's epoch when the files were made: data of an older epoch may be lost
        self.maybe_there = False  # the files may show that the call exists
        self._lock: asyncio.Lock | None = None

    @property
    def lock(self) -> asyncio.Lock:
        """Return the lock that is held while parts are sealed."""
        self._lock = self._lock or asyncio.Lock()
        return self._lock

    @property
    def vault(self) -> Vault:
        """Return the vault that holds the parts."""
        return self._customer.vault

    @property
    def parts(self) -> list[str]:
        """Return the names of all parts, control first."""
        control = int(self.control.name[1:]) if self.control else 0
        return [*(f"c{n + 1}" for n in range(control)), *(f"m{n + 1}" for n in range(self.media_part))]

    # ---- first parts ----
    def draft(self, spool_fd: int) -> tuple[list[Draft], Part]:
        """Make names and keys of the first two parts, control and media; nothing is written to disk yet.

        Return them, for `create`, and the media part as the worker sees it. `spool_fd`: as for `spool`.
        """
        drafts = self.vault.drafts(self.call, self.leaf, "c1", "m1")
        self.spool_fd, self.part = spool_fd, part_of("m1", drafts[1])
        return drafts, self.part

    def create(self, drafts: Sequence[Draft], document: CallDocument, disk: Disk, epoch: int) -> None:
        """Create all files that the answer promises, and write the stored records.

        After a failure, Discard removes the files that exist. One request to the disk thread does everything, because
        waking a thread costs more than the work. Keys, names and ciphers are made before: the event loop waits
        meanwhile, and the thread runs on another processor with cold caches.
        """
        self.epoch = epoch
        control = ControlPart("c1", drafts[0].secret)
        for kind, body in (*self.early, (Kept.CALL, encode_call(document))):
            control.keep(kind, body)
        control.flush()
        begin = partial(part_files.first_parts, self.vault, drafts, control, lambda: not disk.away)
        try:
            _, media = disk.within(begin, lambda made: part_files.take_back(*made))
        except (DiskAway, OSError):
            self.maybe_there = True  # all of it may be written, or could not be removed
            raise
        control.through(disk)
        self.control, self.early, self.maybe_there = control, (), True
        self.media_part, self.media_fd = 1, media.fd

    def go_on(self, media_part: int, epoch: int) -> None:
        """Take over the parts of a previous process: new parts follow the existing ones."""
        self.media_part, self.epoch = media_part, epoch

    def spool(self, spool_fd: int) -> None:
        """Take the call's file in the runtime directory."""
        self.spool_fd = spool_fd

    # ---- further parts ----
    def next_control(self, disk: Disk, least: int = 0) -> int:
        """Start the next control part, number `least` or above; return its number.

        The caller seals the earlier parts.
        """
        before = self.control
        number, part = self._new_part(disk, "c", least or (int(before.name[1:]) + 1 if before else 1))
        self.control = ControlPart(f"c{number}", part.secret, part.fd, disk)
        if before:
            with suppress(NotPossible):  # what it did not accept is also in the checkpoint
                before.flush()
            before.abandon()
        return number

    def next_media(self, disk: Disk) -> Part:
        """Create the next media part; its descriptor is `media_fd`."""
        self.media_part, part = self._new_part(disk, "m", self.media_part + 1)
        if self.media_fd >= 0:
            os.close(self.media_fd)
        self.media_fd = part.fd
        return part_of(f"m{self.media_part}", part)

    def renewed(self, epoch: int) -> None:
        """Note that everything written from now on goes to parts that no failed sync has affected."""
        self.epoch = epoch

    def handed_over(self) -> None:
        """Note that a worker has the newest media part."""
        self.part = None

    def _new_part(self, disk: Disk, kind: str, number: int) -> tuple[int, NewPart]:
        """Create a part with the first free number from `number` on: a killed process may have made some."""
        return disk.within(
            partial(part_files.free_part, self.vault, self.call, self.leaf, kind, number),
            lambda made: part_files.take_back(made[1]),
        )

    # ---- the control part ----
    def keep(self, record: Keep) -> None:
        """Append a record, written by the next `write`; raises NotPossible if too much is waiting already."""
        if self.control is None:
            self.early = (*self.early, record)
        else:
            self.control.keep(record.kind, record.body)

    def write(self, document: CallDocument) -> None:
        """Write a document together with all waiting records; raises NotPossible."""
        if self.control:
            self.control.keep(Kept.CALL, encode_call(document))
            self.control.flush()

    # ---- end ----
    def seal(self, document: CallDocument) -> None:
        """Seal the control part with the last document; raises NotPossible."""
        if self.control:
            self.control.keep(Kept.CALL, encode_call(document))
            self.control.seal()

    def put_away(self, *, sealed: bool) -> None:
        """Finish the newest parts, the media part only if it is `sealed`; waits for the disk.

        The control part goes first because it says what the media are.
        """
        if self.control:
            self.control.finish()
            self.vault.finish(self.call, self.leaf, self.control.name)
        if self.media_part and sealed:
            self.vault.finish(self.call, self.leaf, f"m{self.media_part}")

    def end_part(self, part: str, committed: int | None = None) -> None:
        """Repair a part if its writer died, and move it to the folder of its day.

        Waits for the disk unless the part is finished.
        """
        ref = self.vault.find(self.call, self.leaf, part)
        if ref is None or ref.finished:
            return
        self.vault.recover(ref, committed)
        self.vault.finish(self.call, self.leaf, part)

    def end_media(self) -> None:
        """Finish all media parts, and the control parts before the newest; waits for the disk."""
        self.end_before(self.media_part + 1, {})
        for number in range(1, int(self.control.name[1:]) if self.control else 1):
            self.end_part(f"c{number}")

    def end_before(self, before: int, committed: Mapping[str, int | None]) -> None:
        """Finish the media parts below number `before` at these lengths, None: at what is genuine in them."""
        for number in range(self.finished + 1, before):
            self.end_one(number, committed.get(f"m{number}"))

    def end_one(self, number: int, committed: int | None) -> None:
        """Finish a media part at this length; waits for the disk only if it is not whole."""
        self.end_part(f"m{number}", committed)
        if number == self.finished + 1:
            self.finished = number

    def size(self) -> int:
        """Return the bytes of all parts, without later attachments; raises StorageError or OSError."""
        return self.vault.size(self.call, self.leaf, self.parts)

    def close(self) -> None:
        """Close the descriptors of the parts as they are; a second call does nothing."""
        if self.control:
            self.control.abandon()
        if self.media_fd >= 0:
            os.close(self.media_fd)
        self.media_fd = self.spool_fd = -1
