"""Set the metrics whose figures come from the disk, which may hang: in a thread, twice a minute."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from math import nan

from recorder.calls.status import expiry
from recorder.config.model import Settings
from recorder.observe.metrics import Metrics
from recorder.persist.backup_time import backed_up_at, verified_at
from storage.files.reserved_space import Space

EVERY_SECONDS = 30.0


class Figures:
    """Free space of the folders, age of the key backup and of the last verify, time until certificates expire."""

    def __init__(self, metrics: Metrics, settings: Settings) -> None:
        self._metrics = metrics
        self._node = settings.node
        sip, api = settings.sip.certificate, settings.admin_api.certificate
        self._certificates = {use: file for use, file in (("sip", sip), ("admin_api", api)) if file is not None}

    async def run(self) -> None:
        """Set the metrics for ever; owned by recorder.runtime.tasks."""
        while True:
            await asyncio.to_thread(self.take)
            await asyncio.sleep(EVERY_SECONDS)

    def take(self) -> None:
        """Set the metrics once; a figure that cannot be read is NaN."""
        metrics, now = self._metrics, datetime.now(UTC)
        for name, folder in (("data", self._node.data_dir), ("runtime", self._node.runtime_dir)):
            try:
                space = Space.of(folder)
            except OSError:
                space = None
            metrics.disk_free.labels(name).set(space.free if space else nan)
            metrics.disk_inodes.labels(name).set(space.free_files if space else nan)
        for age, at in (
            (metrics.key_backup_age, backed_up_at(self._node.data_dir)),
            (metrics.verify_age, verified_at(self._node.data_dir)),
        ):
            age.set((now - at).total_seconds() if at else nan)
        for use, file in self._certificates.items():
            ends = expiry(file)
            metrics.certificate_expiry.labels(use).set((ends - now).total_seconds() if ends else nan)
