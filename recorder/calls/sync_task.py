"""Sync live recordings every second, and continue in new parts after a failed sync
(docs/decisions/0002-answer-200-only-when-stored.md).

When a sync fails, the kernel reports it once and drops the pages: a second sync would succeed and prove nothing. So
nothing written before is trusted again: each live call gets a new control part and a new media part, is shown as
`interrupted`, and only what it writes from then on must become durable before its BYE is answered with success.
"""

from __future__ import annotations

import asyncio

from recorder.calls.context import Node
from recorder.calls.executor import Executor
from recorder.calls.live_call import LiveCall
from recorder.calls.registry import Live
from recorder.errors import NotPossible
from recorder.session import events as e
from storage.errors import StorageError, SyncFailed

PAUSE_SECONDS = 1.0
"""Live audio that a power cut may cost, together with the time until it is written and the sync itself."""


class SyncTask:
    """The task that syncs."""

    def __init__(self, node: Node, live: Live, executor: Executor) -> None:
        self._node = node
        self._live = live
        self._executor = executor

    async def run(self) -> None:
        """Sync for ever; owned by recorder.runtime.tasks."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                await self.turn()
            except Exception as problem:  # without this task nothing live would become durable any more
                self._node.log.fault("sync.fault", problem)

    async def turn(self) -> None:
        """Sync once if there is something to sync, then renew the calls that a failed sync affected."""
        if not len(self._live):
            return
        try:
            await asyncio.wrap_future(self._node.syncer.wait())
        except SyncFailed as problem:
            self._node.storage.trouble(problem)
            self._node.incidents.add("sync-failed", None)
            self._node.log.error("storage.sync_failed", calls=len(self._live))
        for call in self._live:
            if call.files.epoch != self._node.syncer.epoch and call.started and call.recording.alive:
                self._renew(call)

    def _renew(self, call: LiveCall) -> None:
        """Continue a call in parts that no failed sync has affected; retried in a second if that fails."""
        epoch = self._node.syncer.epoch
        try:
            self._executor.new_control(call)
            part = self._executor.next_part(call)
            self._node.workers.next_part(call.id, call.files.media_fd, part)
        except (StorageError, NotPossible, OSError) as problem:
            self._node.storage.trouble(problem)
            return
        call.files.renewed(epoch)
        self._executor.guarded(call, e.Distrusted())
        self._executor.checkpoint(call)
