"""Decide every second whether new calls are accepted; check disk, storage, worker load and the watchdog."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.calls import fd_store
from recorder.calls.context import Node, Resources
from recorder.calls.registry import Live
from recorder.runtime.disk_thread import Work
from recorder.runtime.folders import probe
from recorder.session.session import RETRY_AFTER
from storage.files.reserved_space import Space

if TYPE_CHECKING:
    from recorder.calls.membership import Membership

BEAT_SECONDS = 1.0
"""A full disk is noticed and announced well within 5 s, which config/alerts.yml relies on."""

ASK_SECONDS = 0.05
"""Seconds between tries while the service manager had no room for sockets."""

LEAST_FREE_BYTES = 64 << 20
"""Free space below which no new call is taken. 1,000 calls write 16 MB a second, so running calls get some more
seconds.
"""

LEAST_FREE_SPOOL = 4 << 20
"""Free space in the runtime directory; a call takes about 10 KB of it."""

LEAST_FREE_INODES = 1_000
"""Free inodes below which no new call is taken; a call needs two files."""

BUSY_LIMIT = 0.85
"""Above this share of a core the workers would lose packets at the next burst."""

BUSY_SECONDS = 5.0
"""Seconds all workers must be that busy. A burst of new calls, or other load on the machine, ends sooner."""


class Admission:
    """Decides every second, and whenever the load changes, whether new calls are accepted."""

    def __init__(
        self,
        node: Node,
        resources: Resources,
        live: Live,
        membership: Membership | None = None,
        every_second: Sequence[Callable[[], None]] = (),
    ) -> None:
        """`membership`: None if this is the only node; `every_second`: what else is done every second."""
        self._node = node
        self._endpoint = resources.endpoint
        self._notify = resources.notify
        self._workers = resources.workers
        self._disk = resources.disk
        self._storage = resources.storage
        self._live = live
        self._membership = membership
        self._every_second = every_second
        self._draining = False
        self._accepting = True
        self._busy_since: float | None = None
        self._probing: Work[bool] | None = None
        self._unstored = False  # the service manager had no room for some sockets

    def drain(self) -> None:
        """Accept no more calls: the daemon stops."""
        self._draining = True
        self.review()

    def not_accepting(self) -> str | None:
        """Return why no calls are accepted, None while they are."""
        if self._draining:
            return "draining"
        if self._membership is not None and (why := self._membership.not_accepting()):
            return why
        if not self._storage.well:
            return "storage"
        if self._disk.away:
            return "disk stands still"
        if len(self._live) >= self._node.settings.sip.max_calls:
            return "limit reached"
        if self._busy_since is not None and self._node.monotonic() - self._busy_since >= BUSY_SECONDS:
            return "workers busy"
        return None

    def review(self) -> None:
        """Tell the endpoint whether to answer INVITE and OPTIONS with 503."""
        reason = self.not_accepting()
        accepting = reason is None
        if accepting != self._accepting:
            self._accepting = accepting
            self._endpoint.set_accepting(accepting, RETRY_AFTER)
            self._node.log.info(
                "calls.accepted" if accepting else "calls.refused", reason=(reason or "well").replace(" ", "_")
            )

    async def run(self) -> None:
        """Run the checks for ever; owned by recorder.runtime.tasks."""
        while True:
            try:
                self.beat()
            # without this task the recorder would never notice that a full disk has space again
            except Exception as problem:
                self._node.log.fault("housekeeping.fault", problem)
            await self._pause()

    async def _pause(self) -> None:
        """Wait for the next round. A service manager whose queue was full is asked more often: its
        queue may hold ten.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + BEAT_SECONDS
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(left, ASK_SECONDS) if self._unstored else left)
            self._unstored = self._unstored and not self._store_again()

    def beat(self) -> None:
        """Run every check once."""
        self._check_storage()
        self._measure()
        self._unstored = not self._store_again()
        self.review()
        for do in self._every_second:
            do()
        if self._workers.well:
            self._notify.watchdog()

    def _store_again(self) -> bool:
        """Give the service manager the sockets that it had no room for; False if some still do not fit."""
        return fd_store.stored_again(self._notify, (call.sockets for call in self._live))

    def _measure(self) -> None:
        load = self._workers.load
        for worker, busy in load.items():
            self._node.metrics.worker_busy.labels(str(worker)).set(busy)
        if not load or min(load.values()) <= BUSY_LIMIT:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = self._node.monotonic()

    def _check_storage(self) -> None:
        """Check for free space and that a file can be written; refuse calls until both hold."""
        well = self._room() and (self._storage.well or self._probe())
        self._storage.found(well=well, away=self._disk.away)

    def _room(self) -> bool:
        node = self._node.settings.node
        return room(node.data_dir, LEAST_FREE_BYTES) and room(node.runtime_dir, LEAST_FREE_SPOOL)

    def _probe(self) -> bool:
        """After a failure, write, sync and remove a small file: free space alone does not prove that writing works
        again.

        If the disk is slow to answer, its result is read in the next round.
        """
        asked = self._probing or self._disk.begin(self._write)
        self._probing = None if asked.over else asked
        try:
            return asked.over and asked.outcome()
        except OSError:
            return False

    def _write(self) -> bool:
        node = self._node.settings.node
        probe(node.data_dir)
        probe(node.runtime_dir)
        return True


def room(folder: Path, least: int) -> bool:
    """Tell whether a file system has room for more calls; a small one counts as full at a twentieth."""
    try:
        found = Space.of(folder)
    except OSError:
        return False
    return not found.is_short(least, 20) and not found.is_short_of_files(LEAST_FREE_INODES, 20)
