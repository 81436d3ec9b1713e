"""Whether recordings can be stored now; new calls are refused while they cannot."""

from __future__ import annotations

from collections.abc import Callable

from recorder.observe.logs import Log
from recorder.observe.metrics import Metrics
from recorder.runtime.disk_thread import DiskAway


class StorageHealth:
    """What writers report, until a check finds that writing works again."""

    def __init__(self, log: Log, metrics: Metrics, changed: Callable[[], None]) -> None:
        """`changed` is called after every failure."""
        self.well = True
        self._log = log
        self._metrics = metrics
        self._changed = changed

    def trouble(self, problem: Exception) -> None:
        """Note that something could not be stored.

        A hanging disk needs no report: it is healthy when it continues (recorder.runtime.disk_thread).
        """
        if not isinstance(problem, DiskAway):
            if self.well:
                self._log.fault("storage.trouble", problem)
            self.well = False
        self._metrics.storage_state.set(0)
        self._changed()

    def found(self, *, well: bool, away: bool) -> None:
        """Take the result of a storage check; `away`: the disk hangs."""
        if well != self.well:
            self.well = well
            self._log.info("storage.well" if well else "storage.full")
        self._metrics.storage_state.set(1 if well and not away else 0)
