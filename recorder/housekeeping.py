"""The daemon's clockwork: whether calls are accepted, the watchdog, the health of the storage, busy workers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from recorder.live import Live
from recorder.node import Node

BEAT_SECONDS = 1.0
"""A full disk is noticed and announced well within the 5 s of the contract."""

LEAST_FREE_BYTES = 64 << 20
"""Below this no new call is taken: 1,000 calls write 16 MB a second, so the running ones get some seconds more."""

LEAST_FREE_INODES = 1_000
"""A call needs two files."""

BUSY_LIMIT = 0.85
"""Above this share of a core the workers would begin to lose packets at the next burst."""

RETRY_AFTER = 30
"""Seconds an SBC should leave us alone; it fails over to another recorder meanwhile."""


class Housekeeping:
    """Decides every second, and whenever the load changes, whether new calls are accepted."""

    def __init__(self, node: Node, live: Live) -> None:
        self._node = node
        self._live = live
        self.draining = False
        self._accepting = True
        self._busy: dict[int, float] = {}

    def not_accepting(self) -> str | None:
        """Return why no calls are accepted, None while they are."""
        if self.draining:
            return "draining"
        if not self._node.storage_well:
            return "storage"
        if len(self._live) >= self._node.settings.sip.max_calls:
            return "limit reached"
        load = self._node.workers.load
        if load and min(load.values()) > BUSY_LIMIT:
            return "workers busy"
        return None

    def review(self) -> None:
        """Tell the endpoint whether INVITE and OPTIONS are answered 503."""
        reason = self.not_accepting()
        accepting = reason is None
        if accepting != self._accepting:
            self._accepting = accepting
            self._node.endpoint.set_accepting(accepting, RETRY_AFTER)
            self._node.log.info("calls.accepted" if accepting else "calls.refused", reason=(reason or "well").replace(" ", "_"))

    async def run(self) -> None:
        """Beat for ever; owned by recorder.tasks."""
        while True:
            self._storage()
            self._measure()
            self.review()
            if self._node.workers.well:
                self._node.notify.watchdog()
            await asyncio.sleep(BEAT_SECONDS)

    def _measure(self) -> None:
        for worker, busy in self._node.workers.load.items():
            self._node.metrics.worker_busy.labels(str(worker)).set(busy)

    def _storage(self) -> None:
        """Look whether there is room and whether a file can be written; refuse calls until there is."""
        well = self._room() and (self._node.storage_well or self._probe())
        if well != self._node.storage_well:
            self._node.storage_well = well
            self._node.log.info("storage.well" if well else "storage.full")
        self._node.metrics.storage_state.set(1 if well else 0)

    def _room(self) -> bool:
        found = os.statvfs(self._node.settings.node.data_dir)
        least = min(LEAST_FREE_BYTES, found.f_blocks * found.f_frsize // 20)
        inodes = found.f_files == 0 or found.f_favail >= min(LEAST_FREE_INODES, found.f_files // 20)
        return found.f_bavail * found.f_frsize >= least and inodes

    def _probe(self) -> bool:
        """Write, sync and remove a small file after trouble: space alone does not mean that writing works again."""
        path = Path(self._node.settings.node.data_dir) / ".probe"
        try:
            with path.open("wb") as file:
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except OSError:
            return False
        return True
