"""Keep what live calls have recorded: sync it every second, and end parts for an object store.

Syncing (docs/decisions/0002-answer-200-only-when-stored.md):

When a sync fails, the kernel reports it once and drops the pages: a second sync would succeed and prove nothing. So
nothing written before is trusted again: each live call gets a new control part and a new media part, is shown as
`interrupted`, and only what it writes from then on must become durable before its BYE is answered with success.

Ending parts: with an object store a live part ends after [storage] part_seconds, or 16 MiB. The call continues in a new
media part, and in a new control part, so that what is uploaded says whose media it is. The ended parts are finished,
and then uploaded like any others: a machine that burns takes at most part_seconds of its live calls with it, and what
waits for its upload. Without an object store nothing ends before its call.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from recorder.calls.context import Node, Resources
from recorder.calls.executor import Executor
from recorder.calls.live_call import LiveCall
from recorder.calls.registry import Live
from recorder.errors import NotPossible
from recorder.runtime.tasks import repeat
from recorder.session import events as e
from storage.errors import StorageError, SyncFailed

PAUSE_SECONDS = 1.0
"""Live audio that a power cut may cost, together with the time until it is written and the sync itself."""

FEW = 10
"""Parts that end in one turn, and twice as many as are due on average: after a restart those of all calls are due at
the same moment, and each blocks the event loop for a millisecond or two.
"""

MAX_PART = 16 << 20
"""Bytes after which a part ends too: video would make parts that take long to upload, and to fetch for a listener."""


class SyncTask:
    """The task that syncs."""

    def __init__(self, node: Node, resources: Resources, live: Live, executor: Executor) -> None:
        self._node = node
        self._syncer = resources.syncer
        self._workers = resources.workers
        self._storage = resources.storage
        self._live = live
        self._executor = executor

    async def run(self) -> None:
        """Sync for ever; owned by recorder.runtime.tasks."""
        # without this task nothing live would become durable any more
        await repeat(self.turn, PAUSE_SECONDS, lambda problem: self._node.log.fault("sync.fault", problem))

    async def turn(self) -> None:
        """Sync once if there is something to sync, then renew the calls that a failed sync affected."""
        if not len(self._live):
            return
        try:
            await asyncio.wrap_future(self._syncer.wait())
        except SyncFailed as problem:
            self._storage.trouble(problem)
            self._node.incidents.add("sync-failed", None)
            self._node.log.error("storage.sync_failed", calls=len(self._live))
        for call in self._live:
            if call.files.epoch != self._syncer.epoch and call.started and call.recording.alive:
                self._renew(call)

    def _renew(self, call: LiveCall) -> None:
        """Continue a call in parts that no failed sync has affected; retried in a second if that fails."""
        epoch = self._syncer.epoch
        try:
            self._executor.new_control(call)
            part = self._executor.next_part(call)
            self._workers.next_part(call.id, call.files.media_fd, part, call.files.finished)
        except (StorageError, NotPossible, OSError) as problem:
            self._storage.trouble(problem)
            return
        call.files.renewed(epoch)
        self._executor.guarded(call, e.Distrusted())
        self._executor.checkpoint(call)


@dataclass(slots=True)
class _Newest:
    """The newest media part of a call."""

    number: int
    since: float  # when it was first seen


class PartTask:
    """The task that ends parts."""

    def __init__(self, node: Node, resources: Resources, live: Live, executor: Executor) -> None:
        self._node = node
        self._disk = resources.disk
        self._workers = resources.workers
        self._storage = resources.storage
        self._live = live
        self._executor = executor
        self._newest: dict[str, _Newest] = {}
        stored = {each.name: node.settings.storage_of(each) for each in node.settings.customers}
        self._seconds = {name: storage.part_seconds for name, storage in stored.items() if storage.media == "s3"}

    async def run(self) -> None:
        """Look for ever; owned by recorder.runtime.tasks."""
        # without this task nothing live would be uploaded any more
        await repeat(self.turn, PAUSE_SECONDS, lambda problem: self._node.log.fault("parts.fault", problem))

    async def turn(self) -> None:
        """End the parts that are old or large enough."""
        now, live, ended = self._node.monotonic(), set[str](), 0
        most = FEW + 2 * len(self._live) // min(self._seconds.values(), default=1)
        for call in list(self._live):
            seconds = self._seconds.get(call.customer.name)
            if seconds is None:
                continue
            live.add(call.id)
            newest = self._newest.get(call.id)
            if newest is None or newest.number != call.files.media_part:
                self._newest[call.id] = _Newest(call.files.media_part, now)
            elif ended < most and self._due(call, newest, now - newest.since >= seconds):
                ended += 1
                self._end(call)
        for gone in self._newest.keys() - live:
            del self._newest[gone]

    def _due(self, call: LiveCall, newest: _Newest, old: bool) -> bool:
        """Tell whether a part that is old, or large, is to end: it has recorded something, and another can begin."""
        ready = call.started and not call.stranded and call.recording.alive and self._storage.well
        if not (ready and call.heard > newest.since and self._workers.has_worker(call.id)):
            return False
        return old or _size(call) >= MAX_PART

    def _end(self, call: LiveCall) -> None:
        """Continue a call in new parts; tried again in a second if that fails."""
        files = call.files
        try:
            files.write(call.recording.call_document(self._node.now()))
            number = files.next_control(self._disk)
            try:
                part = self._executor.next_part(call)
                self._workers.next_part(call.id, files.media_fd, part, files.finished)
            finally:
                self._executor.checkpoint(call)  # before a part is finished that the last one names as unfinished
        except (StorageError, NotPossible, OSError) as problem:
            self._storage.trouble(problem)
            return
        if not call.outdated:
            self._node.tasks.start(self._executor.finishing.end_controls(call, number), "controls")


def _size(call: LiveCall) -> int:
    try:
        return os.fstat(call.files.media_fd).st_size
    except OSError:
        return 0
