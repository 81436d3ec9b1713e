"""What the components of a running daemon share; made in recorder.service.daemon and passed to whoever needs it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from media.receive.ports import Ports
from media.receive.sockets import Pair
from recorder.calls.storage_health import StorageHealth
from recorder.config.model import Settings
from recorder.observe.incidents import Incidents
from recorder.observe.logs import Log
from recorder.observe.metrics import Metrics
from recorder.runtime.disk_thread import Disk
from recorder.runtime.sd_notify import Notifier
from recorder.runtime.tasks import Tasks
from recorder.session.events import Now
from recorder.workers.pool import Workers
from sip.endpoint import Endpoint
from storage.vault.group_sync import Syncer

_BEGAN = datetime.now(UTC), time.monotonic()  # both clocks when the daemon started
_IN_TIME = timedelta(0)


@dataclass(frozen=True, slots=True)
class Node:
    """What almost every component uses: configuration, reports, tasks, clocks."""

    settings: Settings
    log: Log
    metrics: Metrics
    incidents: Incidents
    tasks: Tasks

    @staticmethod
    def monotonic() -> float:
        """Return the monotonic clock in seconds."""
        return time.monotonic()

    @staticmethod
    def now() -> Now:
        """Return this moment on both clocks."""
        wall, mono = datetime.now(UTC), time.monotonic()
        began, then = _BEGAN
        behind = began + timedelta(seconds=mono - then) - wall
        return Now(wall, mono, behind if behind > _IN_TIME else _IN_TIME)


@dataclass(frozen=True, slots=True)
class Resources:
    """What live calls use: dialogs, sockets, media workers, files."""

    endpoint: Endpoint
    ports: Ports[Pair]
    notify: Notifier
    """The service manager, which keeps the sockets over a restart."""
    workers: Workers
    disk: Disk
    syncer: Syncer
    storage: StorageHealth
